//! What the host says about this guest, and what it said before, for when it is silent.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use anyhow::{Context, Result, bail};
use guest_mdata::{ChannelProblem, Clock, Deadline, Error, MetadataSource};
use serde::{Deserialize, Serialize};

use super::settings;
use crate::{files, state};

/// The least patience: opening a line, getting it quiet and agreeing on a version takes a slow host some seconds.
const LEAST_PATIENCE: Duration = Duration::from_secs(5);

/// After how many silences in a row a phase asks no more.
const MOST_SILENCES: u32 = 2;

/// How much less patient each silence makes.
const IMPATIENCE: u32 = 4;

/// Where the memory is between phases.
const MEMORY: &str = "/etc/svc/volatile/guest-init/metadata.json";

/// The longest memory that is read, in bytes.
pub const LONGEST_MEMORY: u64 = 1 << 20;

/// The longest value that is remembered, in bytes; all together are to stay well below [`LONGEST_MEMORY`], with
/// characters that JSON writes as six bytes.
const LONGEST_VALUE: usize = 64 << 10;

/// The longest values together, in bytes.
const LONGEST_TOGETHER: usize = 160 << 10;

/// The keys, apart from those of [`settings`], whose values are worth remembering: what makes a guest reachable.
/// Passwords and programs are not among them, for the memory lies on a disk that anybody can read who has it.
pub const REMEMBERED: [&str; 8] = [
    "root_authorized_keys",
    "sdc:nics",
    "sdc:resolvers",
    "sdc:routes",
    "sdc:hostname",
    "sdc:alias",
    "sdc:uuid",
    "sdc:dns_domain",
];

/// What is known of a key.
#[derive(Debug)]
pub enum Known {
    /// What the host says now: a value, or that there is no such key.
    Said(Option<Vec<u8>>),
    /// What it said before; now it does not answer, or not well.
    Remembered(Option<Vec<u8>>),
    /// Nothing, for this reason.
    Unknown(Error),
}

impl Known {
    /// The value, if there is one, whenever it was said.
    pub fn value(self) -> Option<Vec<u8>> {
        match self {
            Self::Said(value) | Self::Remembered(value) => value,
            Self::Unknown(_) => None,
        }
    }

    /// Whether the host says so now.
    pub fn is_said(&self) -> bool {
        matches!(self, Self::Said(_))
    }
}

/// Keys and their values; `None` for a key that the host said it does not have.
pub type Values = BTreeMap<String, Option<String>>;

/// What outlives a process.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Memory {
    values: Values,
    /// How many requests in a row had no answer.
    silences: u32,
}

/// What the host says about this guest. A host that was silent is not waited for as long again, or not at all, and each
/// key is asked for once in a phase.
pub struct Metadata {
    source: Box<dyn MetadataSource>,
    clock: Box<dyn Clock>,
    /// How long a request may take as long as the host has not been silent.
    patience: Duration,
    /// How many requests of this phase in a row had no answer.
    silences: u32,
    /// What the host said in this phase.
    answers: BTreeMap<String, Option<Vec<u8>>>,
    memory: Memory,
}

impl Metadata {
    /// From this source, without a memory.
    pub fn new(source: Box<dyn MetadataSource>, clock: Box<dyn Clock>, patience: Duration) -> Self {
        Self { source, clock, patience, silences: 0, answers: BTreeMap::new(), memory: Memory::default() }
    }

    /// Remembers what earlier phases of this boot came to know. A memory that does not make sense is none.
    pub fn recall(&mut self) {
        let bytes = files::read(Path::new(MEMORY), LONGEST_MEMORY).unwrap_or_default();
        self.memory = serde_json::from_slice(&bytes).unwrap_or_default();
    }

    /// Leaves what is known to the phases to come.
    pub fn keep(&self) -> Result<()> {
        fs::create_dir_all(state::FOLDER).with_context(|| format!("cannot make {}", state::FOLDER))?;
        let bytes = serde_json::to_vec(&self.memory).context("cannot write the memory as JSON")?;
        files::replace(Path::new(MEMORY), &bytes, files::Owner::root(0o600))
            .with_context(|| format!("cannot write {MEMORY}"))
    }

    /// The value of a key, if there is one. An error of the channel means that the host is silent.
    pub fn get(&mut self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        if let Some(answer) = self.answers.get(key) {
            return Ok(answer.clone());
        }
        if self.silences >= MOST_SILENCES {
            let problem = ChannelProblem::Deadline("it was silent before".to_owned());
            return Err(Error::Channel { channel: "the metadata channel".to_owned(), problem });
        }
        let answer = self.source.get(key, self.deadline());
        self.heed(answer.as_ref().err());
        let answer = answer?;
        self.answers.insert(key.to_owned(), answer.clone());
        self.remember(key, answer.as_deref());
        Ok(answer)
    }

    /// What is known of a key, from the host or from the memory.
    pub fn lookup(&mut self, key: &str) -> Known {
        match self.get(key) {
            Ok(answer) => Known::Said(answer),
            Err(error) => match self.memory.values.get(key) {
                Some(value) => Known::Remembered(value.clone().map(String::into_bytes)),
                None => Known::Unknown(error),
            },
        }
    }

    /// Stores a value, which must not be empty. The host may take so long; if it was silent before, less. That it takes too
    /// long means nothing for other requests: a host can be stuck with storing alone (smartos-live#990).
    pub fn put(&mut self, key: &str, value: &[u8], longest: Duration) -> Result<(), Error> {
        let longest = patience(longest, self.memory.silences);
        self.source.put(key, value, Deadline::after(longest, &*self.clock))?;
        self.answers.insert(key.to_owned(), Some(value.to_vec()));
        Ok(())
    }

    /// Leaves the channel to other programs until the next request.
    pub fn release(&mut self) {
        self.source.release();
    }

    /// Whether the last request had no answer.
    pub fn is_silent(&self) -> bool {
        self.memory.silences > 0
    }

    /// What is remembered.
    pub fn remembered(&self) -> &Values {
        &self.memory.values
    }

    /// Takes over what another boot remembered, for keys of which this one knows nothing, as far as there is room.
    pub fn take_over(&mut self, values: Values) {
        for (key, value) in values {
            if !self.memory.values.contains_key(&key) {
                self.remember(&key, value.as_deref().map(str::as_bytes));
            }
        }
    }

    fn deadline(&self) -> Deadline {
        Deadline::after(patience(self.patience, self.memory.silences), &*self.clock)
    }

    fn heed(&mut self, error: Option<&Error>) {
        let is_silence = matches!(error, Some(Error::Channel { .. }));
        let count = |silences: u32| if is_silence { silences.saturating_add(1) } else { 0 };
        self.silences = count(self.silences);
        self.memory.silences = count(self.memory.silences);
    }

    fn remember(&mut self, key: &str, value: Option<&[u8]>) {
        if !is_worth_remembering(key) {
            return;
        }
        let others: usize = self.memory.values.iter().filter(|(name, _)| *name != key).map(length).sum();
        let value = value.map(|value| std::str::from_utf8(value).map(str::to_owned).ok());
        // A value that is not text or too long is not remembered, and the one it replaced is not true any more.
        match value {
            Some(Some(value)) if value.len() > LONGEST_VALUE || others + value.len() > LONGEST_TOGETHER => {
                self.memory.values.remove(key);
            }
            Some(None) => {
                self.memory.values.remove(key);
            }
            Some(value) => {
                self.memory.values.insert(key.to_owned(), value);
            }
            None => {
                self.memory.values.insert(key.to_owned(), None);
            }
        }
    }
}

fn length((key, value): (&String, &Option<String>)) -> usize {
    key.len() + value.as_ref().map_or(0, String::len)
}

/// Whether the value of a key is kept for boots with a silent host.
pub fn is_worth_remembering(key: &str) -> bool {
    REMEMBERED.contains(&key) || settings::name_of_key(key).is_some()
}

/// How long to wait after so many silences.
fn patience(full: Duration, silences: u32) -> Duration {
    let shorter = IMPATIENCE.checked_pow(silences).map_or(Duration::ZERO, |divisor| full / divisor);
    shorter.max(LEAST_PATIENCE.min(full))
}

/// Values as they are stored on a disk.
#[derive(Serialize, Deserialize)]
struct Stored {
    /// 1.
    version: u32,
    values: Values,
}

/// The text of a stored copy.
pub fn stored_text(values: &Values) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(&Stored { version: 1, values: values.clone() })
        .context("cannot write metadata as JSON")?;
    text.push(b'\n');
    Ok(text)
}

/// Reads a stored copy. What it says is worth no more than what a host says.
pub fn read_stored(text: &[u8]) -> Result<Values> {
    let stored: Stored = serde_json::from_slice(text).context("it does not make sense")?;
    if stored.version != 1 {
        bail!("it is of version {}", stored.version);
    }
    Ok(stored.values)
}

/// Reads a stored copy from a file, if it is there.
pub fn read_stored_file(path: &Path) -> Result<Option<Values>> {
    match files::read(path, LONGEST_MEMORY) {
        Ok(text) => read_stored(&text).map(Some).with_context(|| path.display().to_string()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use guest_mdata::KeyProblem;
    use proptest::prelude::*;

    use super::*;

    /// A clock that stands still, so that deadlines tell how patient requests are.
    struct Still;

    impl Clock for Still {
        fn now(&self) -> Duration {
            Duration::ZERO
        }

        fn sleep(&self, _time: Duration) {}
    }

    /// A host that answers as long as it is awake, and notes how long it had for each request.
    #[derive(Default)]
    struct Host {
        values: BTreeMap<&'static str, Vec<u8>>,
        is_asleep: bool,
        patience: Vec<u64>,
    }

    struct Source(Rc<RefCell<Host>>);

    impl MetadataSource for Source {
        fn get(&mut self, key: &str, deadline: Deadline) -> Result<Option<Vec<u8>>, Error> {
            let mut host = self.0.borrow_mut();
            host.patience.push(deadline.min(Duration::MAX).as_secs());
            if host.is_asleep {
                let problem = ChannelProblem::Deadline("nobody answers".to_owned());
                return Err(Error::Channel { channel: "test".to_owned(), problem });
            }
            if key == "refused" {
                let problem = KeyProblem::Refused("no".to_owned());
                return Err(Error::Key { key: Some(key.to_owned()), problem });
            }
            Ok(host.values.get(key).cloned())
        }

        fn put(&mut self, key: &str, _value: &[u8], _deadline: Deadline) -> Result<(), Error> {
            let problem = KeyProblem::Unsupported(guest_mdata::wire::Verb::Put);
            Err(Error::Key { key: Some(key.to_owned()), problem })
        }

        fn delete(&mut self, _key: &str, _deadline: Deadline) -> Result<(), Error> {
            unreachable!("nothing is deleted")
        }

        fn keys(&mut self, _deadline: Deadline) -> Result<Vec<String>, Error> {
            unreachable!("keys are not listed")
        }
    }

    fn metadata(values: &[(&'static str, &[u8])]) -> (Rc<RefCell<Host>>, Metadata) {
        let values = values.iter().map(|(key, value)| (*key, value.to_vec())).collect();
        let host = Rc::new(RefCell::new(Host { values, ..Host::default() }));
        let metadata =
            Metadata::new(Box::new(Source(host.clone())), Box::new(Still), Duration::from_secs(80));
        (host, metadata)
    }

    /// The same in the next phase.
    fn later(metadata: Metadata) -> Metadata {
        Metadata { answers: BTreeMap::new(), silences: 0, ..metadata }
    }

    #[test]
    fn no_such_key_and_a_silent_host_are_told_apart() {
        let (host, mut metadata) = metadata(&[("sdc:hostname", b"web")]);
        assert!(matches!(metadata.lookup("sdc:hostname"), Known::Said(Some(value)) if value == b"web"));
        assert!(matches!(metadata.lookup("sdc:routes"), Known::Said(None)));
        host.borrow_mut().is_asleep = true;
        assert!(matches!(metadata.lookup("sdc:resolvers"), Known::Unknown(Error::Channel { .. })));
        assert!(metadata.is_silent());
        // What was said in this phase is not asked for again.
        assert!(metadata.lookup("sdc:hostname").is_said() && metadata.lookup("sdc:routes").is_said());
        let mut later = later(metadata);
        assert!(matches!(later.lookup("sdc:hostname"), Known::Remembered(Some(value)) if value == b"web"));
        assert!(matches!(later.lookup("sdc:routes"), Known::Remembered(None)));
    }

    #[test]
    fn hazard_18_a_silent_host_is_waited_for_less_and_less_and_believed_again_when_it_speaks() {
        let (host, mut metadata) = metadata(&[]);
        host.borrow_mut().is_asleep = true;
        for _ in 0..40 {
            assert!(metadata.get("a").is_err());
        }
        assert_eq!(host.borrow().patience, [80, 20], "a phase asks twice");
        let mut metadata = later(metadata);
        for _ in 0..40 {
            assert!(metadata.get("a").is_err());
        }
        assert_eq!(host.borrow().patience, [80, 20, 5, 5]);
        host.borrow_mut().is_asleep = false;
        let mut metadata = later(metadata);
        assert_eq!(metadata.get("a").expect("awake"), None);
        assert!(metadata.get("refused").is_err(), "a refusal is no silence");
        assert_eq!(metadata.get("b").expect("awake"), None);
        assert_eq!(host.borrow().patience[4..], [5, 80, 80]);
    }

    #[test]
    fn passwords_and_programs_are_not_remembered() {
        let secret: [(&'static str, &[u8]); 5] = [
            ("root_pw", b"x"),
            ("administrator_pw", b"x"),
            ("user-script", b"x"),
            ("sdc:operator-script", b"x"),
            ("guest-init:status", b"x"),
        ];
        let (_, mut metadata) = metadata(&secret);
        for (key, _) in secret {
            assert!(metadata.lookup(key).is_said());
        }
        assert_eq!(metadata.remembered(), &Values::new());
        metadata.take_over(secret.map(|(key, _)| (key.to_owned(), Some("x".to_owned()))).into());
        assert_eq!(metadata.remembered(), &Values::new());
    }

    #[test]
    fn what_is_long_or_no_text_is_not_remembered_nor_what_it_replaced() {
        let long = vec![b'a'; LONGEST_VALUE + 1];
        let keys: [(&'static str, &[u8]); 3] =
            [("root_authorized_keys", &long), ("sdc:alias", b"\xff"), ("guest-init:nat", b"no")];
        let (_, mut metadata) = metadata(&keys);
        metadata.take_over([("sdc:alias".to_owned(), Some("old".to_owned()))].into());
        for (key, value) in keys {
            assert_eq!(metadata.get(key).expect("said").as_deref(), Some(value));
        }
        assert_eq!(
            metadata.remembered(),
            &Values::from([("guest-init:nat".to_owned(), Some("no".to_owned()))])
        );
    }

    #[test]
    fn all_that_is_remembered_fits() {
        let worst = vec![1; LONGEST_VALUE];
        let keys: Vec<(&'static str, &[u8])> = REMEMBERED.iter().map(|key| (*key, &worst[..])).collect();
        let (_, mut metadata) = metadata(&keys);
        for key in REMEMBERED {
            assert!(metadata.lookup(key).is_said());
        }
        let worst = String::from_utf8(worst).expect("text");
        metadata.take_over(
            settings::NAMES.map(|name| (format!("guest-init:{name}"), Some(worst.clone()))).into(),
        );
        let text = stored_text(metadata.remembered()).expect("JSON");
        assert!((text.len() as u64) < LONGEST_MEMORY, "{}", text.len());
        assert_eq!(&read_stored(&text).expect("what was written"), metadata.remembered());
    }

    #[test]
    fn what_this_boot_knows_wins_over_what_was_stored() {
        let (host, mut metadata) = metadata(&[("sdc:alias", b"new")]);
        assert!(metadata.lookup("sdc:alias").is_said());
        host.borrow_mut().is_asleep = true;
        let stored = |key: &str| (key.to_owned(), Some("old".to_owned()));
        metadata.take_over([stored("sdc:alias"), stored("sdc:uuid")].into());
        let mut later = later(metadata);
        assert_eq!(later.lookup("sdc:alias").value(), Some(b"new".to_vec()));
        assert_eq!(later.lookup("sdc:uuid").value(), Some(b"old".to_vec()));
    }

    proptest! {
        #[test]
        fn any_stored_copy_can_be_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_stored(&bytes);
        }
    }
}
