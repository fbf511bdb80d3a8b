//! Random edits against a model in memory; the independent check has the last word.
//! `PROPTEST_CASES` asks for more cases.

use std::collections::BTreeMap;

use kiln_ufs::check::check;
use kiln_ufs::{
    Attributes, EditOptions, Editor, Error, ErrorKind, FileSystem, FileType, MakeOptions, Timestamp, make,
};
use proptest::prelude::*;

#[derive(Debug, Clone, PartialEq)]
enum Thing {
    Directory,
    File(Vec<u8>),
    Link(Vec<u8>),
}

/// Paths and what is there. There are no hard links: they have tests of their own.
type Model = BTreeMap<Vec<u8>, Thing>;

#[derive(Debug, Clone)]
enum Edit {
    Create(Vec<u8>, usize),
    Replace(Vec<u8>, usize),
    Append(Vec<u8>, usize),
    Directory(Vec<u8>),
    Symlink(Vec<u8>, usize),
    Remove(Vec<u8>),
    Rename(Vec<u8>, Vec<u8>),
    Flush,
    Grow(u64),
}

fn contents(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n as u8) ^ (n / 256) as u8 ^ (len as u8)).collect()
}

/// Few names, so that edits meet; some long, so that directories grow.
fn path() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![
        4 => "[a-c]",
        1 => "[a-b]{1}[c]{200}",
    ];
    prop::collection::vec(name, 1..=3).prop_map(|names| format!("/{}", names.join("/")).into_bytes())
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 0..6000_usize,
        2 => 40_000..60_000_usize,
        1 => 100_000..1_500_000_usize,
    ]
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        4 => (path(), size()).prop_map(|(path, size)| Edit::Create(path, size)),
        2 => (path(), size()).prop_map(|(path, size)| Edit::Replace(path, size)),
        3 => (path(), size()).prop_map(|(path, size)| Edit::Append(path, size)),
        4 => path().prop_map(Edit::Directory),
        1 => (path(), 1..1023_usize).prop_map(|(path, size)| Edit::Symlink(path, size)),
        3 => path().prop_map(Edit::Remove),
        3 => (path(), path()).prop_map(|(from, to)| Edit::Rename(from, to)),
        1 => Just(Edit::Flush),
        1 => (0..600_000_u64).prop_map(|more| Edit::Grow(more / 512 * 512)),
    ]
}

fn parent(path: &[u8]) -> &[u8] {
    let slash = path.iter().rposition(|&byte| byte == b'/').unwrap();
    &path[..slash]
}

fn below<'a>(model: &'a Model, path: &'a [u8]) -> impl Iterator<Item = Vec<u8>> + 'a {
    model.keys().filter(move |key| key.starts_with(path) && key.get(path.len()) == Some(&b'/')).cloned()
}

/// Whether the model lets a path be created.
fn vacant(model: &Model, path: &[u8]) -> bool {
    let parent = parent(path);
    !model.contains_key(path) && (parent.is_empty() || model.get(parent) == Some(&Thing::Directory))
}

const ATTRIBUTES: Attributes = Attributes { mode: 0o755, uid: 1, gid: 100_000 };

/// Applies an edit to the file system, and to the model what it should do; errors must be those the model foresees,
/// or want of space, which changes nothing.
fn apply(editor: &mut Editor<Vec<u8>>, model: &mut Model, edit: &Edit) -> Result<(), TestCaseError> {
    let (result, foreseen): (Result<(), Error>, bool) = match edit {
        Edit::Create(path, size) => {
            (editor.create_file(path, &ATTRIBUTES, contents(*size).as_slice()), vacant(model, path))
        }
        Edit::Replace(path, size) => (
            editor.replace_file(path, contents(*size).as_slice()),
            matches!(model.get(path), Some(Thing::File(_))),
        ),
        Edit::Append(path, size) => {
            (editor.append(path, contents(*size).as_slice()), matches!(model.get(path), Some(Thing::File(_))))
        }
        Edit::Directory(path) => (editor.create_dir(path, &ATTRIBUTES), vacant(model, path)),
        Edit::Symlink(path, size) => {
            (editor.symlink(path, &vec![b'-'; *size], &ATTRIBUTES), vacant(model, path))
        }
        Edit::Remove(path) => (editor.remove_all(path), model.contains_key(path)),
        Edit::Rename(from, to) => {
            let inside = to.starts_with(from) && to.get(from.len()) == Some(&b'/');
            let replaces = matches!(
                (model.get(from), model.get(to)),
                (Some(Thing::File(_) | Thing::Link(_)), Some(Thing::File(_) | Thing::Link(_)))
            );
            let foreseen =
                model.contains_key(from) && !inside && (from == to || vacant(model, to) || replaces);
            (editor.rename(from, to), foreseen)
        }
        Edit::Flush => (editor.flush(1_700_000_050), true),
        Edit::Grow(more) => (editor.grow(editor.device().len() as u64 + more), true),
    };
    match result {
        Ok(()) => prop_assert!(foreseen, "{edit:?} should have failed"),
        Err(error) if matches!(error.kind(), ErrorKind::NoSpace | ErrorKind::NoInodes) => return Ok(()),
        Err(error) => {
            prop_assert!(!foreseen, "{edit:?}: {error}");
            return Ok(());
        }
    }
    match edit.clone() {
        Edit::Create(path, size) | Edit::Replace(path, size) => {
            model.insert(path, Thing::File(contents(size)));
        }
        Edit::Append(path, size) => {
            if let Some(Thing::File(old)) = model.get_mut(&path) {
                old.extend(contents(size));
            }
        }
        Edit::Directory(path) => {
            model.insert(path, Thing::Directory);
        }
        Edit::Symlink(path, size) => {
            model.insert(path, Thing::Link(vec![b'-'; size]));
        }
        Edit::Remove(path) => {
            let gone: Vec<_> = below(model, &path).collect();
            gone.iter().chain([&path]).for_each(|path| drop(model.remove(path)));
        }
        Edit::Rename(from, to) if from != to => {
            let moved: Vec<_> = below(model, &from).chain([from.clone()]).collect();
            for path in moved {
                let thing = model.remove(&path).unwrap();
                model.insert([to.as_slice(), &path[from.len()..]].concat(), thing);
            }
        }
        Edit::Rename(..) | Edit::Flush | Edit::Grow(_) => {}
    }
    Ok(())
}

fn read_back(fs: &FileSystem<Vec<u8>>) -> Model {
    let mut model = Model::new();
    for entry in fs.walk(b"/").unwrap() {
        let entry = entry.unwrap();
        let thing = match entry.metadata.kind {
            FileType::Directory => Thing::Directory,
            FileType::Regular => Thing::File(fs.read(&entry.path, 1 << 30).unwrap()),
            FileType::Symlink => Thing::Link(fs.read_link(&entry.path).unwrap()),
            other => panic!("{other:?}"),
        };
        model.insert(entry.path, thing);
    }
    model
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_edits_keep_the_tree_and_the_rules(edits in prop::collection::vec(edit(), 1..100)) {
        let options =
            MakeOptions { bytes: 3 << 20, bytes_per_inode: 40_000, time: 1_700_000_000, generation_seed: 9 };
        let edit_options =
            EditOptions { time: Timestamp::from_seconds(1_700_000_001), generation_seed: 10 };
        let mut editor = make(Vec::new(), &options).unwrap().edit(edit_options);
        let mut model = Model::from([(b"/lost+found".to_vec(), Thing::Directory)]);
        for edit in &edits {
            apply(&mut editor, &mut model, edit)?;
        }
        prop_assert!(read_back(&editor) == model);
        let image = editor.finish(1_700_000_099).unwrap().into_device();
        let len = image.len() as u64;
        let report = check(&image, len).unwrap();
        prop_assert!(report.is_clean(), "{:#?}", report.findings);
        prop_assert!(read_back(&FileSystem::open(image, len).unwrap()) == model);
    }
}
