use std::io::Write;
use std::os::unix::fs::symlink;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

use super::*;

/// An `/opt` with its key.
struct Machine {
    folder: tempfile::TempDir,
    place: Place,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let opt = folder.path().join("opt");
        fs::create_dir(&opt).expect("made");
        let owner = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        Self { folder, place: Place { folder: opt, owner } }
    }

    /// Puts a tarball of these files onto the key.
    fn image(&self, files: &[(&str, &str)]) -> Tarball {
        let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (path, contents) in files {
            let mut header = Header::new_gnu();
            let (kind, contents) = match path.strip_suffix('/') {
                Some(_) => (EntryType::Directory, ""),
                None => (EntryType::Regular, *contents),
            };
            header.set_entry_type(kind);
            header.set_mode(0o755);
            header.set_size(contents.len() as u64);
            builder
                .append_data(&mut header, format!("custom/{path}"), contents.as_bytes())
                .expect("appended");
        }
        let bytes = builder.into_inner().and_then(GzEncoder::finish).expect("compressed");
        fs::write(self.tarball(), &bytes).expect("written");
        let sha256 = delivered::digest(&mut bytes.as_slice()).expect("hashed");
        Tarball { sha256, bytes: bytes.len() as u64 }
    }

    fn tarball(&self) -> PathBuf {
        self.folder.path().join("custom.tgz")
    }

    fn update(&self, files: &[(&str, &str)]) -> Result<()> {
        let tarball = self.image(files);
        self.place.recover().expect("recovered");
        self.place.replace(&self.tarball(), &tarball)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.place.tree().join(path)
    }

    fn write(&self, path: &str, contents: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, contents).expect("written");
    }

    fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.path(path)).ok()
    }

    fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.place.tree()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("listed") {
                let entry = entry.expect("an entry");
                let path = entry.path();
                if path.is_dir() && !path.is_symlink() {
                    folders.push(path);
                } else {
                    let path = path.strip_prefix(self.place.tree()).expect("below");
                    found.push(path.display().to_string());
                }
            }
        }
        found.sort();
        found
    }
}

#[test]
fn hazard_12_the_tree_of_the_image_takes_its_place() {
    let machine = Machine::new();
    machine.update(&[("bin/tool", "1"), ("root/", "")]).expect("delivered");
    assert_eq!(machine.text("bin/tool").as_deref(), Some("1"));
    assert!(!machine.place.has_leftovers());
    machine.update(&[("bin/tool", "2"), ("bin/more", "2")]).expect("updated");
    assert_eq!(machine.text("bin/tool").as_deref(), Some("2"));
    machine.update(&[("bin/more", "2")]).expect("updated");
    assert_eq!(machine.files(), [".delivered.json", "bin/more"], "what the image dropped is gone");
}

#[test]
fn hazard_12_what_the_user_added_or_changed_survives_every_update() {
    let machine = Machine::new();
    machine
        .update(&[("bin/tool", "1"), ("etc/keep", "1"), ("root/.profile", "1"), ("old/a", "1")])
        .expect("delivered");
    machine.write("etc/keep", "changed");
    machine.write("etc/added", "added");
    machine.write("own/folder/file", "own");
    machine.write("old/added", "added");
    symlink("added", machine.path("etc/link")).expect("linked");
    fs::create_dir(machine.path("own/empty")).expect("made");
    for version in ["2", "3"] {
        machine
            .update(&[("bin/tool", version), ("etc/keep", version), ("root/.profile", version)])
            .expect("updated");
        assert_eq!(machine.text("bin/tool").as_deref(), Some(version));
        assert_eq!(machine.text("etc/keep").as_deref(), Some("changed"));
        assert_eq!(machine.text("etc/added").as_deref(), Some("added"));
        assert_eq!(machine.text("own/folder/file").as_deref(), Some("own"));
        assert_eq!(machine.text("old/added").as_deref(), Some("added"));
        assert_eq!(machine.text("old/a"), None);
        assert_eq!(fs::read_link(machine.path("etc/link")).expect("a link"), Path::new("added"));
        assert!(machine.path("own/empty").is_dir());
    }
}

#[test]
fn hazard_12_a_tree_of_the_old_scripts_gives_way_and_is_kept_beside() {
    let machine = Machine::new();
    machine.write("svc/method/smartos-setup", "old script");
    machine.write("etc/same", "same");
    machine.write("root/.ssh/id", "own");
    machine.update(&[("svc/method/smartos-setup", "new"), ("etc/same", "same")]).expect("delivered");
    assert_eq!(machine.text("svc/method/smartos-setup").as_deref(), Some("new"));
    assert_eq!(machine.text("svc/method/smartos-setup.saved").as_deref(), Some("old script"));
    assert_eq!(machine.text("root/.ssh/id").as_deref(), Some("own"));
    assert_eq!(machine.text("etc/same.saved"), None);
    machine.update(&[("svc/method/smartos-setup", "newer")]).expect("updated");
    assert_eq!(machine.text("svc/method/smartos-setup.saved").as_deref(), Some("old script"));
}

#[test]
fn hazard_12_a_damaged_tarball_changes_nothing() {
    let machine = Machine::new();
    machine.update(&[("bin/tool", "1")]).expect("delivered");
    let tarball = machine.image(&[("bin/tool", "2")]);
    let whole = fs::read(machine.tarball()).expect("read");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for bytes in [&whole[..whole.len() - 1], &flipped, &[]] {
        fs::write(machine.tarball(), bytes).expect("written");
        machine.place.recover().expect("recovered");
        machine.place.replace(&machine.tarball(), &tarball).expect_err("refused");
        assert_eq!(machine.text("bin/tool").as_deref(), Some("1"));
    }
    // One with the right digest that is no tarball.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&[b'x'; 2000]).expect("compressed");
    let bytes = encoder.finish().expect("compressed");
    fs::write(machine.tarball(), &bytes).expect("written");
    let sha256 = delivered::digest(&mut bytes.as_slice()).expect("hashed");
    let tarball = Tarball { sha256, bytes: bytes.len() as u64 };
    machine.place.recover().expect("recovered");
    machine.place.replace(&machine.tarball(), &tarball).expect_err("refused");
    assert_eq!(machine.text("bin/tool").as_deref(), Some("1"));
}

#[test]
fn hazard_12_a_conflict_leaves_the_old_tree() {
    let machine = Machine::new();
    machine.update(&[("bin/tool", "1")]).expect("delivered");
    machine.write("data/mine", "own");
    machine.update(&[("bin/tool", "2"), ("data", "a file")]).expect_err("refused");
    assert_eq!(machine.text("bin/tool").as_deref(), Some("1"));
    assert_eq!(machine.text("data/mine").as_deref(), Some("own"));
    machine.place.recover().expect("recovered");
    assert!(!machine.place.has_leftovers());
}

#[test]
fn hazard_12_wherever_it_is_stopped_there_is_a_whole_tree() {
    let machine = Machine::new();
    let old = [("bin/tool", "old")];
    let new = [("bin/tool", "new")];
    // Stopped while unpacking.
    machine.update(&old).expect("delivered");
    fs::create_dir(machine.place.new_tree()).expect("made");
    fs::write(machine.place.new_tree().join("half"), "h").expect("written");
    machine.place.recover().expect("recovered");
    assert_eq!(machine.text("bin/tool").as_deref(), Some("old"));
    // Stopped between the renames: the new tree is whole.
    let other = Machine::new();
    other.update(&new).expect("delivered");
    fs::rename(other.place.tree(), machine.place.new_tree()).expect("moved");
    fs::rename(machine.place.tree(), machine.place.old_tree()).expect("moved");
    machine.place.recover().expect("recovered");
    assert_eq!(machine.text("bin/tool").as_deref(), Some("new"));
    assert!(!machine.place.has_leftovers());
    // And if for whatever reason it is not, the old one is.
    fs::rename(machine.place.tree(), machine.place.old_tree()).expect("moved");
    fs::create_dir(machine.place.new_tree()).expect("made");
    machine.place.recover().expect("recovered");
    assert_eq!(machine.text("bin/tool").as_deref(), Some("new"));
    // Stopped before the old tree was gone.
    fs::create_dir(machine.place.old_tree()).expect("made");
    machine.place.recover().expect("recovered");
    assert!(!machine.place.has_leftovers());
    assert_eq!(machine.text("bin/tool").as_deref(), Some("new"));
}

#[test]
fn hazard_22_nobody_else_may_change_the_way_to_roots_home() {
    let machine = Machine::new();
    machine.update(&[("root/", "")]).expect("delivered");
    assert_eq!(machine.place.lax().expect("looked"), Vec::<PathBuf>::new());
    let root = machine.path("root");
    fs::set_permissions(&root, fs::Permissions::from_mode(0o775)).expect("set");
    assert_eq!(machine.place.lax().expect("looked"), [root]);
    machine.place.tighten().expect("changed");
    assert_eq!(machine.place.lax().expect("looked"), Vec::<PathBuf>::new());
}
