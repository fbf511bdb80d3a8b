//! Path expressions: `IMAGE:/path!/inner`, where each `!` steps into the file named before it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};

use super::dataset::Keep;
use super::open::{self, Contents, How};
use super::scratch::Scratch;
use super::source::Source;
use super::subject_of;
use super::tree::{self, Node, Tree, show};
use crate::report::{Hint, Report};

/// A path expression, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    /// The image file.
    pub image: PathBuf,
    /// The path in each tree on the way; the last may be empty, which names what the file before it holds.
    pub steps: Vec<Vec<u8>>,
}

impl Expression {
    /// Takes an expression apart. A text that is a file's name as a whole names that file, whatever is in it; else the
    /// image's name ends at the first `:/` (or a `:` at the end) behind which it is a file.
    pub fn parse(text: &OsStr) -> Expression {
        Self::parse_with(text, |path| path.exists() && !path.is_dir())
    }

    fn parse_with(text: &OsStr, is_file: impl Fn(&Path) -> bool) -> Expression {
        let whole = || Expression { image: PathBuf::from(text), steps: Vec::new() };
        if is_file(Path::new(text)) {
            return whole();
        }
        let bytes = text.as_bytes();
        let colons: Vec<usize> = (0..bytes.len())
            .filter(|&at| bytes[at] == b':' && matches!(bytes.get(at + 1), None | Some(b'/')))
            .collect();
        let image = |at: usize| PathBuf::from(OsString::from_vec(bytes[..at].to_vec()));
        let at = colons.iter().copied().find(|&at| is_file(&image(at))).or_else(|| colons.first().copied());
        let Some(at) = at else { return whole() };
        Expression { image: image(at), steps: split_steps(&bytes[at + 1..]) }
    }
}

/// Cuts at each `!` that stands at the end or before a `/`; others belong to names.
fn split_steps(path: &[u8]) -> Vec<Vec<u8>> {
    let mut steps = vec![Vec::new()];
    for (at, &byte) in path.iter().enumerate() {
        if byte == b'!' && matches!(path.get(at + 1), None | Some(b'/')) {
            steps.push(Vec::new());
        } else if let Some(step) = steps.last_mut() {
            step.push(byte);
        }
    }
    steps
}

/// What an expression names.
#[derive(Clone)]
pub enum Subject {
    /// Something in a tree, or the root of one.
    Node {
        /// The tree.
        tree: Arc<dyn Tree>,
        /// The node in it.
        node: Node,
    },
    /// Bytes that are no tree: a whole image or an expanded file.
    Bytes(Source),
}

/// What an expression names, with what is needed to go on from there.
#[derive(Clone)]
pub struct Found {
    /// The thing itself.
    pub subject: Subject,
    /// The image's contents when the expression names the whole image.
    pub whole: Option<Contents>,
    /// Where temporary files for stepping further go.
    pub scratch: Scratch,
}

/// Finds what an expression names. Symbolic links at its end are followed when `follow` is set.
///
/// # Errors
/// The image cannot be opened, a path does not exist, or a file that is stepped into holds no files.
pub fn resolve(expression: &Expression, follow: bool, how: How<'_>, report: &Report) -> Result<Found> {
    // What is stepped into is read.
    let keep = if expression.steps.len() > 1 { Keep::All } else { how.keep };
    let image = open::open(&expression.image, How { keep, ..how }, report)?;
    let mut walked = expression.image.display().to_string();
    let mut contents = image.contents;
    let mut whole = Some(contents.clone());
    let mut subject = subject_of(&contents).with_context(|| format!("cannot look into {walked}"))?;
    let last = expression.steps.len().saturating_sub(1);
    for (index, step) in expression.steps.iter().enumerate() {
        if index == 0 {
            walked.push(':');
        } else {
            let Subject::Node { tree, node } = &subject else {
                return Err(no_files(&walked));
            };
            let file = tree.contents(node).with_context(|| format!("cannot step into {walked}"))?;
            contents = open::unwrap(&file, &image.scratch, report)
                .with_context(|| format!("cannot step into {walked}"))?;
            subject = subject_of(&contents).with_context(|| format!("cannot look into {walked}"))?;
            walked.push('!');
        }
        if tree::components(step).next().is_none() {
            continue;
        }
        whole = None;
        let Subject::Node { tree, .. } = &subject else { return Err(no_files(&walked)) };
        let follow = follow || index < last;
        let node = tree::find(&**tree, step, follow).with_context(|| format!("cannot look into {walked}"))?;
        let Some(node) = node else {
            return Err(anyhow!("{walked} has no {}", show(step)))
                .hint(format!("`kiln ls '{walked}'` shows what is there"));
        };
        walked.push_str(&show(step));
        subject = Subject::Node { tree: Arc::clone(tree), node };
    }
    Ok(Found { subject, whole: whole.filter(|_| expression.steps.len() <= 1), scratch: image.scratch })
}

fn no_files(walked: &str) -> anyhow::Error {
    let error = anyhow!(
        "{} holds no files: it is no disk or archive that kiln knows",
        walked.trim_end_matches([':', '!'])
    );
    Err::<(), _>(error)
        .hint("kiln steps into disks, FAT and UFS, tar, streams of file systems, and these compressed")
        .unwrap_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, files: &[&str]) -> (String, Vec<String>) {
        let found =
            Expression::parse_with(OsStr::new(text), |path| files.iter().any(|file| path == Path::new(file)));
        let steps = found.steps.into_iter().map(|step| String::from_utf8(step).unwrap()).collect();
        (found.image.to_str().unwrap().to_owned(), steps)
    }

    fn strings(steps: &[&str]) -> Vec<String> {
        steps.iter().map(|step| (*step).to_owned()).collect()
    }

    #[test]
    fn expressions_are_taken_apart() {
        assert_eq!(parse("a.zvol.gz", &["a.zvol.gz"]), ("a.zvol.gz".into(), strings(&[])));
        assert_eq!(parse("a:/x/y!/etc/issue", &["a"]), ("a".into(), strings(&["/x/y", "/etc/issue"])));
        assert_eq!(parse("a:/x!", &["a"]), ("a".into(), strings(&["/x", ""])));
        assert_eq!(parse("a:", &["a"]), ("a".into(), strings(&[""])));
        assert_eq!(parse("a:/wow!.txt!/b", &["a"]), ("a".into(), strings(&["/wow!.txt", "/b"])));
    }

    #[test]
    fn colons_in_file_names_are_no_obstacle() {
        assert_eq!(parse("a:/b:/c", &["a:/b"]), ("a:/b".into(), strings(&["/c"])));
        assert_eq!(parse("a:/b", &["a:/b"]), ("a:/b".into(), strings(&[])));
        assert_eq!(parse("12:30.img", &[]), ("12:30.img".into(), strings(&[])));
        assert_eq!(parse("missing:/b", &[]), ("missing".into(), strings(&["/b"])));
    }
}
