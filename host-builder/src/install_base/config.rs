//! Which image is asked for, and what follows from that: its packages, and the values that its files mention.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Where packages are installed.
pub const PREFIX: &str = "/opt/local";
/// Where packages keep their configuration.
pub const SYSCONFDIR: &str = "/opt/local/etc";
/// The public repositories of SmartOS' packages, a folder of branches.
const REPOSITORIES: &str = "https://pkgsrc.smartos.org/packages/SmartOS";
/// Where commands are looked for in an image.
pub const PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/opt/local/sbin:/opt/local/bin:/usr/sbin:/usr/bin:/sbin";

/// A branch of pkgsrc: a quarter, such as `2023Q4`, or `trunk`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch(String);

impl Branch {
    /// Year and quarter; trunk is after all of them.
    pub fn quarter(&self) -> (u16, u8) {
        let of_quarter = self
            .0
            .split_once('Q')
            .and_then(|(year, quarter)| Some((year.parse().ok()?, quarter.parse().ok()?)));
        of_quarter.unwrap_or((u16::MAX, 0))
    }
}

impl FromStr for Branch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_quarter = matches!(text.as_bytes(), [year @ .., b'Q', b'1'..=b'4'] if year.len() == 4 && year.iter().all(u8::is_ascii_digit));
        if is_quarter || text == "trunk" {
            return Ok(Self(text.to_owned()));
        }
        Err("a branch is a quarter, such as 2023Q4, or trunk".to_owned())
    }
}

impl fmt::Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a set of packages was built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// 32 bits.
    I386,
    /// 64 bits.
    X86_64,
    /// Libraries of both, programs of 32 bits.
    Multiarch,
}

impl Architecture {
    const ALL: [Architecture; 3] = [Architecture::I386, Architecture::X86_64, Architecture::Multiarch];

    /// Its word in names.
    pub fn word(self) -> &'static str {
        match self {
            Architecture::I386 => "i386",
            Architecture::X86_64 => "x86_64",
            Architecture::Multiarch => "multiarch",
        }
    }
}

/// Branch and architecture, as in `2023Q4-x86_64`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The branch.
    pub branch: Branch,
    /// The architecture.
    pub architecture: Architecture,
}

impl FromStr for Config {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad =
            || "a configuration is BRANCH-ARCH: YYYYQn or trunk, and i386, x86_64 or multiarch".to_owned();
        let (branch, architecture) = text.split_once('-').ok_or_else(bad)?;
        let architecture = Architecture::ALL.into_iter().find(|known| known.word() == architecture);
        Ok(Self { branch: branch.parse().map_err(|_| bad())?, architecture: architecture.ok_or_else(bad)? })
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.branch, self.architecture.word())
    }
}

/// The release of an image, such as `23.4.0`. Releases order by their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    text: String,
    /// Two digits a number: 230400.
    number: u32,
}

impl FromStr for Release {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || "a release is three numbers of at most two digits, such as 23.4.0".to_owned();
        let digits =
            |part: &str| (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        let parts: Vec<&str> = text.split('.').collect();
        if parts.len() != 3 || !parts.iter().all(|part| digits(part)) {
            return Err(bad());
        }
        let number = parts.iter().try_fold(0, |number, part| Some(number * 100 + part.parse::<u32>().ok()?));
        Ok(Self { text: text.to_owned(), number: number.ok_or_else(bad)? })
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The date of a bootstrap kit that is not the branch's only one; part of a file name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KitDate(String);

impl FromStr for KitDate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if (1..=16).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Ok(Self(text.to_owned()));
        }
        Err("the date of a kit is 1 to 16 letters and digits, such as 20240112".to_owned())
    }
}

/// How much is in an image. Each family has all that those before it have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// What manages packages and sets the zone up.
    Minimal,
    /// And what people expect who log in.
    Base,
    /// And what builds packages.
    Pkgbuild,
}

/// The name of an image. Its first word says the family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    text: String,
    family: Family,
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let family = match text.split('-').next() {
            Some("minimal") => Family::Minimal,
            Some("base") => Family::Base,
            Some("pkgbuild") => Family::Pkgbuild,
            _ => return Err("the name of a base image begins with minimal-, base- or pkgbuild".to_owned()),
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if text.len() > 64 || !text.bytes().all(plain) {
            return Err("a name is at most 64 letters, digits, dashes, dots and underscores".to_owned());
        }
        Ok(Self { text: text.to_owned(), family })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The image that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: Name,
    /// Its release.
    pub release: Release,
    /// Where its packages come from.
    pub config: Config,
    /// The date of the bootstrap kit.
    pub date: Option<KitDate>,
}

impl Wanted {
    /// The family of the image.
    pub fn family(&self) -> Family {
        self.name.family
    }

    /// `NAME-RELEASE`, which its files are called.
    pub fn title(&self) -> String {
        format!("{}-{}", self.name, self.release)
    }

    /// The file name of the bootstrap kit.
    pub fn kit(&self) -> String {
        format!("bootstrap-{}{}.tar.gz", self.config, self.kit_suffix())
    }

    fn kit_suffix(&self) -> String {
        self.date.as_ref().map(|date| format!("-{}", date.0)).unwrap_or_default()
    }

    /// The public repository of the packages, which installed images go on using.
    pub fn repository(&self) -> String {
        let Config { branch, architecture } = &self.config;
        format!("{REPOSITORIES}/{branch}/{}/All", architecture.word())
    }

    /// The branch of pkgsrc's own repository that the packages were built from.
    pub fn git_branch(&self) -> String {
        match &self.config.branch {
            Branch(trunk) if trunk == "trunk" => trunk.clone(),
            branch if self.release.number >= 22_04_00 => format!("release/{branch}"),
            branch => format!("joyent/release/{branch}"),
        }
    }

    /// The packages of the image, in the order in which they are installed (source: imagetools, `install-base`).
    pub fn packages(&self) -> Vec<&'static str> {
        let release = self.release.number;
        let mut packages = match release {
            23_04_00.. => vec!["mozilla-rootcerts-openssl"],
            _ => vec!["mozilla-rootcerts", "openssl"],
        };
        packages.extend(["pkg_alternatives", "pkg_install", "pkgin", "pkgsrc-gnupg-keys"]);
        packages.extend(["changepass", "smtools", "zoneinit"]);
        if self.family() >= Family::Base {
            packages.extend([
                "coreutils",
                "curl",
                "diffutils",
                "findutils",
                "gawk",
                "grep",
                "gsed",
                "gtar-base",
            ]);
            packages.extend(["less", "nodejs"]);
            // Before and after, it came with nodejs.
            if (18_02_00..23_04_00).contains(&release) {
                packages.push("npm");
            }
            packages.extend(["patch", "perl", "postfix", "rsyslog", "sudo", "wget"]);
        }
        if self.family() >= Family::Pkgbuild {
            packages.push("git-base");
        }
        packages
    }

    /// The values that files of overlays may mention as `@NAME@`.
    pub fn variables(&self) -> BTreeMap<&'static str, String> {
        let text = str::to_owned;
        BTreeMap::from([
            ("IMAGE_NAME", self.name.to_string()),
            ("IMAGE_VERSION", self.release.to_string()),
            ("IMAGE_BRANCH", self.config.branch.to_string()),
            ("IMAGE_ARCH", text(self.config.architecture.word())),
            ("IMAGE_PATH", text(PATH)),
            ("IMAGE_CSHPATH", PATH.replace(':', " ")),
            ("IMAGE_MANDIRS", text("/opt/local/man:/usr/share/man")),
            ("IMAGE_PREFIX", text(PREFIX)),
            ("IMAGE_SYSCONFDIR", text(SYSCONFDIR)),
            ("IMAGE_BOOTDATE", self.kit_suffix()),
            ("IMAGE_PRODUCT", text("SmartOS Instance")),
            ("IMAGE_SHORTPRODUCT", text("Instance")),
            ("IMAGE_DOC", text("https://docs.smartos.org/")),
            ("IMAGE_PACKAGES", self.packages().join(" ")),
            ("IMAGE_GIT_BRANCH", self.git_branch()),
            ("CRLE_DPATH_32", text("/lib:/usr/lib")),
            ("CRLE_DPATH_64", text("/lib/64:/usr/lib/64")),
            ("CRLE_TPATH_32", text("/lib/secure:/usr/lib/secure")),
            ("CRLE_TPATH_64", text("/lib/secure/64:/usr/lib/secure/64")),
        ])
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// An image that is asked for.
    pub fn wanted(name: &str, release: &str, config: &str) -> Wanted {
        let config = config.parse().unwrap();
        Wanted { name: name.parse().unwrap(), release: release.parse().unwrap(), config, date: None }
    }

    #[test]
    fn configurations_are_a_branch_and_an_architecture() {
        for text in ["2023Q4-x86_64", "trunk-multiarch", "2013Q2-i386"] {
            assert_eq!(text.parse::<Config>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "2023Q5-x86_64",
            "2023Q4",
            "2023Q4-x86_64-x",
            "23Q4-i386",
            "trunk-sparc",
            "Trunk-i386",
            "2023Q4-",
            "20é3Q4-i386",
        ] {
            assert!(text.parse::<Config>().is_err(), "{text}");
        }
    }

    #[test]
    fn releases_are_compared_by_numbers() {
        let number = |text: &str| text.parse::<Release>().map(|release| release.number);
        assert_eq!(number("23.4.0"), Ok(230_400));
        assert_eq!(number("18.2.10"), Ok(180_210));
        for text in ["", "23.4", "23.4.0.1", "23.4.x", "23..0", "100.1.1", "+1.2.3", "23.4.0-rc1"] {
            assert!(number(text).is_err(), "{text}");
        }
    }

    #[test]
    fn packages_follow_from_family_and_release() {
        let sum = |name, release| wanted(name, release, "2023Q4-x86_64").packages().join(" ");
        let minimal = "pkg_alternatives pkg_install pkgin pkgsrc-gnupg-keys changepass smtools zoneinit";
        assert_eq!(sum("minimal-64", "23.4.0"), format!("mozilla-rootcerts-openssl {minimal}"));
        assert_eq!(sum("minimal-64-lts", "23.3.9"), format!("mozilla-rootcerts openssl {minimal}"));
        assert_eq!(
            sum("base-64", "24.4.1"),
            format!(
                "mozilla-rootcerts-openssl {minimal} coreutils curl diffutils findutils gawk grep gsed gtar-base less \
                 nodejs patch perl postfix rsyslog sudo wget"
            )
        );
        assert!(sum("pkgbuild", "24.4.1").ends_with(" wget git-base"));
        for (release, npm) in [("18.1.9", false), ("18.2.0", true), ("23.3.99", true), ("23.4.0", false)] {
            assert_eq!(sum("base-64", release).contains(" npm "), npm, "{release}");
        }
    }

    #[test]
    fn names_say_the_family() {
        for name in ["", "base64", "ubuntu", "base-64/x", "minimal-6 4"] {
            assert!(name.parse::<Name>().is_err(), "{name}");
        }
        assert_eq!("pkgbuild".parse::<Name>().unwrap().family, Family::Pkgbuild);
    }

    #[test]
    fn what_follows_from_branch_and_date() {
        let mut image = wanted("base-64", "22.3.0", "2022Q3-x86_64");
        assert_eq!(image.git_branch(), "joyent/release/2022Q3");
        assert_eq!(image.kit(), "bootstrap-2022Q3-x86_64.tar.gz");
        assert_eq!(image.repository(), "https://pkgsrc.smartos.org/packages/SmartOS/2022Q3/x86_64/All");
        image.date = Some("20221019".parse().unwrap());
        assert_eq!(image.kit(), "bootstrap-2022Q3-x86_64-20221019.tar.gz");
        assert_eq!(image.variables()["IMAGE_BOOTDATE"], "-20221019");
        assert_eq!(wanted("base-64", "22.4.0", "2022Q4-x86_64").git_branch(), "release/2022Q4");
        assert_eq!(wanted("base-64", "22.4.0", "trunk-x86_64").git_branch(), "trunk");
        assert!("2022/10".parse::<KitDate>().is_err());
    }
}
