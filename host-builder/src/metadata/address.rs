//! Where the server meets its guests, as words on the command line.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Result, bail};

/// Where the server waits for guests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// `unix:PATH`.
    Unix(PathBuf),
    /// `tcp:HOST:PORT`.
    Tcp(String),
    /// `pty` or `pty:LINK`.
    Pty(Option<PathBuf>),
}

/// Where the server connects to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dial {
    /// `unix:PATH`.
    Unix(PathBuf),
    /// `tty:PATH`.
    Tty(PathBuf),
}

impl FromStr for Listen {
    type Err = anyhow::Error;

    fn from_str(words: &str) -> Result<Self> {
        match words.split_once(':').unwrap_or((words, "")) {
            ("unix", path) if !path.is_empty() => Ok(Self::Unix(path.into())),
            ("tcp", address) if address.contains(':') => Ok(Self::Tcp(address.to_owned())),
            ("pty", "") if words == "pty" => Ok(Self::Pty(None)),
            ("pty", link) if !link.is_empty() => Ok(Self::Pty(Some(link.into()))),
            _ => bail!("expected unix:PATH, tcp:HOST:PORT, pty, or pty:LINK"),
        }
    }
}

impl FromStr for Dial {
    type Err = anyhow::Error;

    fn from_str(words: &str) -> Result<Self> {
        match words.split_once(':') {
            Some(("unix", path)) if !path.is_empty() => Ok(Self::Unix(path.into())),
            Some(("tty", path)) if !path.is_empty() => Ok(Self::Tty(path.into())),
            _ => bail!("expected unix:PATH or tty:PATH"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Dial, Listen};

    #[test]
    fn words_and_places() {
        assert_eq!("unix:a:b".parse::<Listen>().unwrap(), Listen::Unix("a:b".into()));
        assert_eq!("tcp:[::1]:0".parse::<Listen>().unwrap(), Listen::Tcp("[::1]:0".into()));
        assert_eq!("pty".parse::<Listen>().unwrap(), Listen::Pty(None));
        assert_eq!("pty:tty1".parse::<Listen>().unwrap(), Listen::Pty(Some("tty1".into())));
        assert_eq!("unix:x".parse::<Dial>().unwrap(), Dial::Unix("x".into()));
        assert_eq!("tty:/dev/ttyS1".parse::<Dial>().unwrap(), Dial::Tty("/dev/ttyS1".into()));
        for bad in ["", "unix", "unix:", "tcp:80", "pty:", "ptyx", "/tmp/socket", "tty:/dev/ttyS1"] {
            assert!(bad.parse::<Listen>().is_err(), "{bad}");
        }
        for bad in ["", "unix:", "tty", "pty", "tcp:localhost:1"] {
            assert!(bad.parse::<Dial>().is_err(), "{bad}");
        }
    }
}
