//! Changes that outlive the server: the data file, replaced as a whole, while the server goes on reading.

use std::fs::{self, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, fchown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow};

use crate::report::Hint;

const HINT: &str = "save the JSON of the machine to a plain file, at the least {}, and name that with --data";

/// Writes descriptions to the data file, one after the other, in a thread of its own.
#[derive(Debug)]
pub struct Keeper {
    texts: Option<Sender<String>>,
    results: Receiver<io::Result<()>>,
    /// Readable when a result is there.
    bell: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// A keeper for this file, which exists.
    ///
    /// # Errors
    /// It cannot be found, or it is a pipe or another thing that cannot be replaced.
    pub fn start(path: &Path) -> Result<Keeper> {
        // The file itself is replaced, not a link to it.
        let cannot = || format!("cannot keep changes in the data file {}", path.display());
        let found = fs::metadata(path).with_context(cannot).hint(HINT)?;
        if !found.is_file() {
            return Err(anyhow!("--persist cannot replace {}, which is no plain file", path.display()))
                .hint(HINT);
        }
        let path = fs::canonicalize(path).with_context(cannot).hint(HINT)?;
        let mut file = DataFile { last: Stamp::of(&found), path };
        Self::with(move |text| file.replace(text))
    }

    fn with(mut keep: impl FnMut(&str) -> io::Result<()> + Send + 'static) -> Result<Keeper> {
        let (bell, mut ringer) = UnixStream::pair().context("cannot make a pair of sockets")?;
        bell.set_nonblocking(true)?;
        let (texts, incoming) = channel::<String>();
        let (outgoing, results) = channel();
        let thread = thread::spawn(move || {
            for text in incoming {
                // Nobody listens any more only when the server ends.
                if outgoing.send(keep(&text)).is_err() || ringer.write_all(b"!").is_err() {
                    break;
                }
            }
        });
        Ok(Keeper { texts: Some(texts), results, bell, thread: Some(thread) })
    }

    /// Begins to write a description. [`Keeper::result`] tells when it is kept.
    pub fn keep(&self, text: String) {
        let texts = self.texts.as_ref().expect("only drop takes it");
        texts.send(text).expect("the thread lives as long as the keeper");
    }

    /// What becomes readable when a description is kept, or cannot be.
    pub fn bell(&self) -> &UnixStream {
        &self.bell
    }

    /// How the oldest description that was not told of went, if it is done.
    pub fn result(&mut self) -> Option<io::Result<()>> {
        // A ring follows its result, so whoever hears it finds that. The bell is quieted first, because a ring that comes
        // for a result that was taken already must not keep it ringing.
        while self.bell.read(&mut [0; 64]).is_ok_and(|count| count > 0) {}
        self.results.try_recv().ok()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // What was begun is finished: a change is kept whole or not at all.
        drop(self.texts.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct DataFile {
    path: PathBuf,
    last: Stamp,
}

/// By what a file is known to be the one that was written or read last.
#[derive(Debug, PartialEq, Eq)]
struct Stamp(u64, u64, u64, i64, i64);

impl Stamp {
    fn of(found: &Metadata) -> Stamp {
        Stamp(found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec())
    }
}

impl DataFile {
    /// Replaces the file: after a power cut it is the old one or the new one.
    fn replace(&mut self, text: &str) -> io::Result<()> {
        let old = fs::metadata(&self.path)?;
        if Stamp::of(&old) != self.last {
            return Err(io::Error::other("somebody else changed the data file since it was read"));
        }
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let mut file = tempfile::Builder::new()
            .prefix(".kiln-metadata-")
            .tempfile_in(folder)
            // The guest is told why, and where its host keeps files is not for it to know.
            .map_err(|error| io::Error::from(error.kind()))?;
        file.write_all(text.as_bytes())?;
        // The superuser keeps a user's file that user's. Others may not give files away, and need not.
        let _ = fchown(file.as_file(), Some(old.uid()), Some(old.gid()));
        file.as_file().set_permissions(old.permissions())?;
        file.as_file().sync_all()?;
        let file = file.persist(&self.path).map_err(|error| error.error)?;
        self.last = Stamp::of(&file.metadata()?);
        fs::File::open(folder)?.sync_all()
    }
}

#[cfg(test)]
pub mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A keeper that writes nothing, and is done when the other side says how it went.
    pub fn slow() -> (Keeper, Sender<io::Result<()>>) {
        let (go, wait) = channel();
        let keeper =
            Keeper::with(move |_| wait.recv().unwrap_or_else(|_| Err(io::Error::other("gone")))).unwrap();
        (keeper, go)
    }

    #[test]
    fn case_17_the_file_is_replaced_as_a_whole_and_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vm.json");
        fs::write(&path, "{}").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let before = fs::File::open(&path).unwrap();
        let keeper = Keeper::start(&path).unwrap();
        keeper.keep("{\"a\":1}".to_owned());
        keeper.keep("{\"a\":2}".to_owned());
        drop(keeper);
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"a\":2}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(io::read_to_string(before).unwrap(), "{}", "the old file was never written to");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_bell_rings_once_a_result() {
        let (mut keeper, go) = slow();
        for _ in 0..1000 {
            keeper.keep(String::new());
            go.send(Ok(())).unwrap();
            // Asked without waiting for the bell, so that its ring often comes afterwards.
            while keeper.result().is_none() {}
        }
        drop(keeper.texts.take());
        keeper.thread.take().unwrap().join().unwrap();
        assert!(keeper.result().is_none());
        assert_eq!(keeper.bell.read(&mut [0]).unwrap(), 0, "the other end is gone, and nothing rings");
    }

    #[test]
    fn what_somebody_else_wrote_is_not_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vm.json");
        fs::write(&path, "{}").unwrap();
        let mut file = DataFile { last: Stamp::of(&fs::metadata(&path).unwrap()), path: path.clone() };
        fs::write(&path, "{ }").unwrap();
        assert!(file.replace("mine").unwrap_err().to_string().contains("somebody else"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "{ }");
    }

    #[test]
    fn why_a_change_cannot_be_kept_names_no_file_of_the_host() {
        // Nobody can make a file there.
        let path = PathBuf::from("/proc/version");
        let mut file = DataFile { last: Stamp::of(&fs::metadata(&path).unwrap()), path };
        let words = file.replace("mine").unwrap_err().to_string();
        assert!(!words.contains('/') && !words.contains("somebody"), "{words}");
    }
}
