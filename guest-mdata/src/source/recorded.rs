//! Metadata in memory that remembers what it was asked: the double for tests of whoever uses a source.

use std::collections::BTreeMap;

use super::MetadataSource;
use crate::clock::Deadline;
use crate::error::{ChannelProblem, Error};
use crate::wire::Request;

/// A source with values in memory and a record of every request.
#[derive(Debug, Default)]
pub struct Recorded {
    values: BTreeMap<String, Vec<u8>>,
    requests: Vec<Request>,
    silent: bool,
}

impl Recorded {
    /// A source with these keys and values.
    pub fn new<K: Into<String>, V: Into<Vec<u8>>>(values: impl IntoIterator<Item = (K, V)>) -> Self {
        let values = values.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        Self { values, ..Self::default() }
    }

    /// A source whose host never answers: every request meets its deadline.
    pub fn silent() -> Self {
        Self { silent: true, ..Self::default() }
    }

    /// What was asked so far, in order.
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }

    fn record(&mut self, request: Request) -> Result<(), Error> {
        self.requests.push(request);
        if !self.silent {
            return Ok(());
        }
        let problem = ChannelProblem::Deadline("nobody answers on it".to_owned());
        Err(Error::Channel { channel: "recorded".to_owned(), problem })
    }
}

impl MetadataSource for Recorded {
    fn get(&mut self, key: &str, _deadline: Deadline) -> Result<Option<Vec<u8>>, Error> {
        self.record(Request::Get(key.into()))?;
        Ok(self.values.get(key).cloned())
    }

    fn put(&mut self, key: &str, value: &[u8], _deadline: Deadline) -> Result<(), Error> {
        self.record(Request::Put { key: key.into(), value: value.to_vec() })?;
        self.values.insert(key.to_owned(), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, key: &str, _deadline: Deadline) -> Result<(), Error> {
        self.record(Request::Delete(key.into()))?;
        self.values.remove(key);
        Ok(())
    }

    fn keys(&mut self, _deadline: Deadline) -> Result<Vec<String>, Error> {
        self.record(Request::Keys)?;
        Ok(self.values.keys().filter(|key| !key.starts_with("sdc:")).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::Recorded;
    use crate::clock::Deadline;
    use crate::source::MetadataSource;
    use crate::wire::Request;

    #[test]
    fn it_answers_and_remembers() {
        let mut source = Recorded::new([("sdc:uuid", "u"), ("a", "1")]);
        source.put("b", b"2", Deadline::NEVER).expect("stored");
        source.delete("a", Deadline::NEVER).expect("deleted");
        assert_eq!(source.keys(Deadline::NEVER).expect("answered"), ["b"]);
        assert_eq!(source.get("a", Deadline::NEVER).expect("answered"), None);
        assert_eq!(source.requests().len(), 4);
        assert_eq!(source.requests()[1], Request::Delete(b"a".to_vec()));
        assert!(Recorded::silent().get("a", Deadline::NEVER).is_err());
    }
}
