//! Which platform this is, and what platforms of its age have.

use anyhow::{Context, Result};

use crate::moment;

/// The date of a platform, as its kernel tells it: `20141030T081701Z`. Stamps sort as dates.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Platform {
    stamp: String,
}

/// What precedes the stamp in `uname -v` (smartos-live, `tools/build_platform`).
const PREFIX: &str = "joyent_";

/// What a stamp looks like; digits stand for any digit.
const FORM: &[u8; 16] = b"00000000T000000Z";

impl Platform {
    /// The platform that runs.
    ///
    /// # Errors
    /// When the kernel's version does not name one.
    pub fn running() -> Result<Self> {
        let version = rustix::system::uname().version().to_string_lossy().into_owned();
        Self::of_kernel(&version)
            .with_context(|| format!("'{}' is no SmartOS kernel", version.escape_debug()))
    }

    /// The platform of a kernel's version, such as `joyent_20141030T081701Z`.
    pub fn of_kernel(version: &str) -> Option<Self> {
        let stamp = version.strip_prefix(PREFIX)?;
        let fits = stamp.len() == FORM.len()
            && stamp.bytes().zip(FORM).all(|(byte, &form)| match form {
                b'0' => byte.is_ascii_digit(),
                letter => byte == letter,
            });
        fits.then(|| Self { stamp: stamp.to_owned() })
    }

    /// Its stamp.
    pub fn stamp(&self) -> &str {
        &self.stamp
    }

    /// When it was built, in seconds since 1970.
    pub fn built(&self) -> Option<u64> {
        moment::of_stamp(&self.stamp)
    }

    /// Whether it was built on this day (`20150814`) or later.
    pub fn is_since(&self, day: &str) -> bool {
        &self.stamp[..day.len().min(self.stamp.len())] >= day
    }

    /// Whether its SSH server is surely OpenSSH rather than SunSSH, which it replaced on 2015-08-14 (smartos-live OS-4688). A
    /// platform of that day may have either, and counts as the older: what SunSSH takes OpenSSH takes as well.
    pub fn has_openssh(&self) -> bool {
        self.is_since("20150815")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_names_the_platform() {
        let platform = Platform::of_kernel("joyent_20141030T081701Z").expect("a platform");
        assert_eq!(platform.stamp(), "20141030T081701Z");
        assert_eq!(platform.built(), Some(1_414_657_021));
        assert!(
            platform.is_since("20141030") && platform.is_since("20130506") && !platform.is_since("20141031")
        );
        for version in [
            "",
            "joyent_",
            "joyent_20141030",
            "omnios-r151046",
            "joyent_20141030T081701Zx",
            "20141030T081701Z",
        ] {
            assert_eq!(Platform::of_kernel(version), None, "{version}");
        }
    }
}
