//! Where packages come from: a folder of package files, or a web server that has one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use pkgsrc::summary::Summary;

use super::archive::Package;
use super::compression;
use super::packing_list::{PackingList, checked_name};
use crate::contents::scratch::Scratch;
use crate::report::Hint;

/// Names of indexes, in the order in which they are looked for (pkg_summary(5)).
const INDEXES: [&str; 5] =
    ["pkg_summary.gz", "pkg_summary.zst", "pkg_summary.xz", "pkg_summary.bz2", "pkg_summary.txt"];
/// Largest index, compressed and expanded, in bytes: those of SmartOS, of 25,000 packages, have a tenth of it.
const INDEX: u64 = 256 << 20;
/// Largest package that is fetched, in bytes.
const PACKAGE: u64 = 16 << 30;
/// Most packages of a repository.
const PACKAGES: usize = 200_000;
/// How long a server may take until it answers.
const PATIENCE: Duration = Duration::from_mins(1);

/// What to do about a package that is listed and cannot be had.
const INCOMPLETE: &str =
    "the repository lists it: add the file, so that you may read it, or take a repository that is complete";

/// A package that a repository has, as its index describes it. What is installed is decided by the package itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Name and version.
    pub name: String,
    /// Patterns of what it needs.
    pub depends: Vec<String>,
    /// Patterns of what it cannot be installed beside.
    pub conflicts: Vec<String>,
    /// Name of its file.
    pub file: String,
}

/// A repository of packages.
pub trait Repository {
    /// What to call it.
    fn place(&self) -> String;

    /// All packages, by name.
    fn candidates(&self) -> &BTreeMap<String, Candidate>;

    /// The file of a package and its length in bytes.
    ///
    /// # Errors
    /// It is not there, or cannot be read or fetched.
    fn open(&self, candidate: &Candidate) -> Result<(File, u64)>;
}

/// Opens the repository in a folder, or at an address that begins with `http://` or `https://`. What is fetched is kept in temporary
/// files.
///
/// # Errors
/// There is none, or its index is damaged.
pub fn open(place: &str, scratch: &Scratch) -> Result<Box<dyn Repository>> {
    if place.starts_with("http://") || place.starts_with("https://") {
        return Ok(Box::new(Site::open(place, scratch)?));
    }
    if let Some((scheme, _)) = place.split_once("://") {
        return Err(anyhow!("no packages can be fetched by {scheme}"))
            .misuse("name a folder, or an address that begins with http:// or https://");
    }
    Ok(Box::new(Folder::open(Path::new(place))?))
}

/// A folder of package files.
struct Folder {
    path: PathBuf,
    candidates: BTreeMap<String, Candidate>,
}

impl Folder {
    fn open(path: &Path) -> Result<Self> {
        let cannot = || format!("cannot read the packages in {}", path.display());
        let remedy = "name the folder that has the packages and their index, pkg_summary.gz: it is called All in repositories";
        ensure_folder(path).with_context(cannot).hint(remedy)?;
        for index in INDEXES {
            match File::open(path.join(index)) {
                Ok(file) => {
                    let candidates = read_index(file).with_context(|| format!("the index {index}"));
                    return Ok(Self { path: path.to_owned(), candidates: candidates.with_context(cannot)? });
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(anyhow!(error).context(index)).with_context(cannot),
            }
        }
        let candidates = index_files(path).with_context(cannot)?;
        if candidates.is_empty() {
            return Err(anyhow!("there are no packages in {}", path.display())).hint(remedy);
        }
        Ok(Self { path: path.to_owned(), candidates })
    }
}

fn ensure_folder(path: &Path) -> Result<()> {
    ensure!(fs::metadata(path)?.is_dir(), "it is no folder");
    Ok(())
}

impl Repository for Folder {
    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn candidates(&self) -> &BTreeMap<String, Candidate> {
        &self.candidates
    }

    fn open(&self, candidate: &Candidate) -> Result<(File, u64)> {
        let path = self.path.join(&candidate.file);
        let file = File::open(&path);
        let file = file.with_context(|| format!("cannot open {}", path.display())).hint(INCOMPLETE)?;
        let length = file.metadata()?.len();
        Ok((file, length))
    }
}

/// Reads what the packages of a folder without an index say about themselves.
fn index_files(path: &Path) -> Result<BTreeMap<String, Candidate>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        if let Some(name) = name.to_str().filter(|name| name.strip_suffix(".tgz").is_some()) {
            names.push(name.to_owned());
            ensure!(names.len() <= PACKAGES, "there are more than {PACKAGES} packages");
        }
    }
    names.sort_unstable();
    let mut candidates = BTreeMap::new();
    for name in names {
        let candidate = index_file(path, &name).with_context(|| format!("the package {name}"))?;
        if let Some(other) = candidates.insert(candidate.name.clone(), candidate) {
            bail!("{} and {name} are the same package, {}", other.file, other.name);
        }
    }
    Ok(candidates)
}

fn index_file(path: &Path, name: &str) -> Result<Candidate> {
    let file = File::open(path.join(name))?;
    let length = file.metadata()?.len();
    let about = Package::open(&file, length)?.about()?;
    let list = PackingList::parse(about.get("+CONTENTS").context("+CONTENTS is missing")?)?;
    Ok(Candidate { name: list.name, depends: list.depends, conflicts: list.conflicts, file: name.to_owned() })
}

/// Reads an index, compressed or not.
fn read_index(file: impl Read) -> Result<BTreeMap<String, Candidate>> {
    let text = compression::decoder(file.take(INDEX))?.take(INDEX + 1);
    let mut candidates = BTreeMap::new();
    let mut counted = Counted { inner: text, count: 0 };
    for summary in
        Summary::from_reader(BufReader::new(&mut counted)).allow_unknown(true).allow_incomplete(true)
    {
        let summary = summary.context("it is damaged")?;
        let candidate = candidate(&summary)?;
        candidates.insert(candidate.name.clone(), candidate);
        ensure!(candidates.len() <= PACKAGES, "it has more than {PACKAGES} packages");
    }
    ensure!(counted.count <= INDEX, "it has more than {INDEX} bytes");
    Ok(candidates)
}

fn candidate(summary: &Summary) -> Result<Candidate> {
    let name = checked_name(summary.pkgname().pkgname())?.to_owned();
    let file = summary.file_name().map_or_else(|| format!("{name}.tgz"), ToOwned::to_owned);
    let plain =
        !file.is_empty() && file.len() <= 255 && !file.starts_with('.') && !file.contains(['/', '\0']);
    ensure!(plain, "{file:?} is no name of a package's file");
    let listed = |patterns: Option<&[String]>| patterns.unwrap_or_default().to_vec();
    Ok(Candidate { depends: listed(summary.depends()), conflicts: listed(summary.conflicts()), name, file })
}

struct Counted<R> {
    inner: R,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        self.count += got as u64;
        Ok(got)
    }
}

/// A repository on a web server.
struct Site {
    address: String,
    agent: ureq::Agent,
    scratch: Scratch,
    candidates: BTreeMap<String, Candidate>,
}

impl Site {
    fn open(address: &str, scratch: &Scratch) -> Result<Self> {
        let mut site = Self {
            address: address.trim_end_matches('/').to_owned(),
            agent: agent(),
            scratch: scratch.clone(),
            candidates: BTreeMap::new(),
        };
        for index in INDEXES {
            if let Some((file, _)) = site.fetch(index, INDEX)? {
                let candidates = read_index(file).with_context(|| format!("the index {address}/{index}"))?;
                site.candidates = candidates;
                return Ok(site);
            }
        }
        Err(anyhow!("{address} has no index of packages"))
            .hint("name the folder of the server that has pkg_summary.gz: it is called All in repositories of pkgsrc")
    }

    /// Fetches a file into a temporary one; `None` when there is no such file.
    fn fetch(&self, name: &str, limit: u64) -> Result<Option<(File, u64)>> {
        fetch_with(&self.agent, &format!("{}/{}", self.address, escaped(name)), limit, &self.scratch)
    }
}

/// Fetches what is at an address into a temporary file; `None` when there is nothing.
///
/// # Errors
/// The server cannot be reached or refuses, or has more than `limit` bytes.
pub fn fetch(address: &str, limit: u64, scratch: &Scratch) -> Result<Option<File>> {
    Ok(fetch_with(&agent(), address, limit, scratch)?.map(|(file, _)| file))
}

/// What asks web servers.
fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_resolve(Some(PATIENCE))
        .timeout_connect(Some(PATIENCE))
        .timeout_recv_response(Some(PATIENCE))
        .user_agent(concat!("kiln/", env!("CARGO_PKG_VERSION")))
        .build();
    config.into()
}

fn fetch_with(
    agent: &ureq::Agent,
    address: &str,
    limit: u64,
    scratch: &Scratch,
) -> Result<Option<(File, u64)>> {
    let cannot = || format!("cannot fetch {address}");
    let remedy = "check the address and the network, or name a folder with a copy of the packages";
    let mut answer = agent.get(address).call().with_context(cannot).hint(remedy)?;
    match answer.status().as_u16() {
        200 => {}
        404 => return Ok(None),
        status => {
            return Err(anyhow!("the server answers with status {status}")).with_context(cannot).hint(remedy);
        }
    }
    let promised = answer.body().content_length();
    ensure!(promised.unwrap_or(0) <= limit, "{address} has more than the {limit} bytes that make sense");
    let mut file = scratch.file()?;
    // The limit of the library is an error in the middle; one more byte than the limit tells the same in our words.
    let mut body = answer.body_mut().with_config().limit(u64::MAX).reader().take(limit + 1);
    let length = io::copy(&mut body, &mut file).with_context(cannot).hint(remedy)?;
    ensure!(length <= limit, "{address} has more than the {limit} bytes that make sense");
    ensure!(promised.is_none_or(|promised| promised == length), "{address} came only in part");
    io::Seek::rewind(&mut file)?;
    Ok(Some((file, length)))
}

impl Repository for Site {
    fn place(&self) -> String {
        self.address.clone()
    }

    fn candidates(&self) -> &BTreeMap<String, Candidate> {
        &self.candidates
    }

    fn open(&self, candidate: &Candidate) -> Result<(File, u64)> {
        let file = self.fetch(&candidate.file, PACKAGE)?;
        file.with_context(|| {
            format!("{} does not have {}, which its index lists", self.address, candidate.file)
        })
        .hint(INCOMPLETE)
    }
}

/// A name as a part of an address (RFC 3986): all but letters, digits and harmless signs as their codes.
fn escaped(name: &str) -> String {
    use std::fmt::Write as _;
    name.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~+,@=".contains(&byte) {
            text.push(byte.into());
        } else {
            write!(text, "%{byte:02X}").expect("a string takes all");
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX_TEXT: &str = "PKGNAME=foo-1.0\nDEPENDS=bar>=1\nDEPENDS=baz-[0-9]*\nCONFLICTS=old-[0-9]*\nFILE_NAME=foo-1.0.tgz\n\
        COMMENT=words\nNEW_THING=1\n\nPKGNAME=bar-1\nCOMMENT=words\n\n";

    #[test]
    fn an_index_lists_what_packages_need() {
        let candidates = read_index(INDEX_TEXT.as_bytes()).unwrap();
        assert_eq!(candidates.keys().collect::<Vec<_>>(), ["bar-1", "foo-1.0"]);
        assert_eq!(candidates["foo-1.0"].depends, ["bar>=1", "baz-[0-9]*"]);
        assert_eq!(candidates["foo-1.0"].conflicts, ["old-[0-9]*"]);
        assert_eq!(candidates["bar-1"].file, "bar-1.tgz");
    }

    #[test]
    fn an_index_names_no_files_elsewhere() {
        let said = |text: &str| format!("{:#}", read_index(text.as_bytes()).unwrap_err());
        assert!(said("PKGNAME=a-1\nFILE_NAME=../a-1.tgz\n").contains("no name of a package's file"));
        assert!(said("PKGNAME=../a-1\n").contains("no name of a package"));
        assert!(said("no line of an index\n").contains("damaged"));
    }

    #[test]
    fn addresses_are_those_of_the_files() {
        assert_eq!(escaped("gcc13-libs++-1.0nb2.tgz"), "gcc13-libs++-1.0nb2.tgz");
        assert_eq!(escaped("a b%?#é"), "a%20b%25%3F%23%C3%A9");
    }

    #[test]
    fn other_schemes_are_refused() {
        let error = open("ftp://example.org/All", &Scratch::of_the_system()).err().unwrap();
        assert!(crate::report::is_misuse(&error));
        assert!(open("/nonexistent/folder", &Scratch::of_the_system()).is_err());
    }
}
