//! Metadata from a JSON file, for machines without a channel.

use std::collections::BTreeMap;

use serde_json::Value;

use super::MetadataSource;
use crate::clock::Deadline;
use crate::error::{Error, KeyProblem};

/// A JSON object of keys and values that cannot be changed. Values that are not strings are handed out as the host
/// would: numbers and booleans as text, `sdc:nics` and its like as JSON.
#[derive(Debug)]
pub struct FileSource {
    values: BTreeMap<String, Vec<u8>>,
}

/// What is wrong with the file.
#[derive(Debug, thiserror::Error)]
pub enum FileProblem {
    /// It is not JSON.
    #[error("line {}, column {}: not JSON", .0.line(), .0.column())]
    NotJson(#[source] serde_json::Error),
    /// It is JSON, but not an object.
    #[error("not an object of keys and values")]
    NotAnObject,
}

impl FileSource {
    /// The source with this content of a file.
    pub fn from_json(text: &[u8]) -> Result<Self, FileProblem> {
        let Value::Object(object) = serde_json::from_slice(text).map_err(FileProblem::NotJson)? else {
            return Err(FileProblem::NotAnObject);
        };
        let values = object.into_iter().filter_map(|(key, value)| {
            let text = match value {
                Value::Null => return None,
                Value::String(text) => text,
                other => other.to_string(),
            };
            Some((key, text.into_bytes()))
        });
        Ok(Self { values: values.collect() })
    }
}

fn read_only<T>(key: &str) -> Result<T, Error> {
    let problem = KeyProblem::Refused("this metadata comes from a file and cannot be changed".to_owned());
    Err(Error::Key { key: Some(key.to_owned()), problem })
}

impl MetadataSource for FileSource {
    fn get(&mut self, key: &str, _deadline: Deadline) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.values.get(key).cloned())
    }

    fn put(&mut self, key: &str, _value: &[u8], _deadline: Deadline) -> Result<(), Error> {
        read_only(key)
    }

    fn delete(&mut self, key: &str, _deadline: Deadline) -> Result<(), Error> {
        read_only(key)
    }

    fn keys(&mut self, _deadline: Deadline) -> Result<Vec<String>, Error> {
        Ok(self.values.keys().filter(|key| !key.starts_with("sdc:")).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::{FileProblem, FileSource};
    use crate::clock::Deadline;
    use crate::error::Error;
    use crate::source::MetadataSource;

    #[test]
    fn a_file_answers_as_a_host_would() {
        let text = br#"{"sdc:ram": 1024, "sdc:nics": [{"mac": "a"}], "user-script": "true\n", "none": null}"#;
        let mut file = FileSource::from_json(text).expect("good JSON");
        let mut get = |key| file.get(key, Deadline::NEVER).expect("a file always answers");
        assert_eq!(get("sdc:ram").as_deref(), Some(&b"1024"[..]));
        assert_eq!(get("sdc:nics").as_deref(), Some(&br#"[{"mac":"a"}]"#[..]));
        assert_eq!(get("user-script").as_deref(), Some(&b"true\n"[..]));
        assert_eq!(get("none"), None);
        assert_eq!(file.keys(Deadline::NEVER).expect("a file always answers"), ["user-script"]);
        assert!(matches!(file.put("a", b"b", Deadline::NEVER), Err(Error::Key { .. })));
        assert!(matches!(file.delete("a", Deadline::NEVER), Err(Error::Key { .. })));
    }

    #[test]
    fn what_is_no_object_is_refused_with_its_place() {
        let error = FileSource::from_json(b"{\n  \"a\": }").expect_err("not JSON");
        assert_eq!(error.to_string(), "line 2, column 8: not JSON");
        assert!(matches!(FileSource::from_json(b"[]"), Err(FileProblem::NotAnObject)));
    }
}
