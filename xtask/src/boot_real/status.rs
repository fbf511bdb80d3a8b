//! What the guest tells its host: the metadata key `guest-init:status`.

use anyhow::{Context, Result};
use serde_json::Value;

/// The key.
pub const KEY: &str = "guest-init:status";

/// The phase that a boot ends with.
pub const LAST_PHASE: &str = "userscript";

/// How far the guest has come, and how that went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// `ok`, `failed` or `rescue`.
    pub result: String,
    /// The phase that ended last.
    pub phase: String,
    /// The text as it came.
    pub text: String,
}

impl Status {
    /// The status of a value of the key.
    ///
    /// # Errors
    /// When it is not what guest-init puts there.
    pub fn parse(text: &str) -> Result<Self> {
        let object: Value = serde_json::from_str(text).with_context(|| format!("{KEY} is no JSON"))?;
        let field = |name: &str| {
            let value = object.get(name).and_then(Value::as_str);
            value.map(str::to_owned).with_context(|| format!("{KEY} has no {name}: {text}"))
        };
        Ok(Self { result: field("result")?, phase: field("phase")?, text: text.to_owned() })
    }

    /// Whether the boot has come to its end.
    pub fn is_last(&self) -> bool {
        self.phase == LAST_PHASE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phase_tells_whether_the_boot_is_over() {
        let setup = r#"{"result":"failed","phase":"setup","time":"2014-10-30T08:18:01Z","step":"setup/nat"}"#;
        let status = Status::parse(setup).unwrap();
        assert_eq!(
            (status.result.as_str(), status.phase.as_str(), status.is_last()),
            ("failed", "setup", false)
        );
        let last = r#"{"result":"ok","phase":"userscript","time":"2014-10-30T08:18:01Z"}"#;
        assert!(Status::parse(last).unwrap().is_last());
    }

    #[test]
    fn what_is_no_status_is_named() {
        for text in ["", "ready", "{}", r#"{"result":"ok","phase":null}"#, r#"{"result":1,"phase":"setup"}"#]
        {
            let error = format!("{:#}", Status::parse(text).unwrap_err());
            assert!(error.contains(KEY), "{error}");
        }
    }
}
