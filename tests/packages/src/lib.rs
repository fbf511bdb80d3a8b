//! Small pkgsrc packages and repositories in the real format, made as pkg_create, `pkg_admin gpg-sign-package` and pkgsrc's own
//! makefiles make them: packing list first, files in its order, scripts with their data in comments, signed ones as `ar` archives.
//!
//! The scripts have the shape of pkgsrc's (`mk/pkginstall`), and words of their own.

#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use flate2::write::GzEncoder;
use pgp::composed::{ArmorOptions, DetachedSignature, KeyType, SecretKeyParamsBuilder, SignedSecretKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::ser::Serialize as _;
use pgp::types::Password;
use pkgsrc::archive::{Compression, DEFAULT_BLOCK_SIZE, PkgHash, PkgHashAlgorithm, SignedArchive};
use pkgsrc::digest::Digest;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tar::{EntryType, Header};

/// Where packages of SmartOS are installed.
pub const PREFIX: &str = "/opt/local";
/// Their machine.
pub const MACHINE: &str = "x86_64";
/// When their files were changed last, seconds since 1970.
pub const MODIFIED: u64 = 1_700_000_000;

/// A package in the making.
#[derive(Clone, Debug)]
pub struct Package {
    name: String,
    prefix: String,
    depends: Vec<String>,
    conflicts: Vec<String>,
    /// Lines of the packing list behind its head, and members that belong to them.
    lines: Vec<String>,
    members: Vec<Member>,
    /// Lines of data of `+INSTALL`.
    data: Vec<String>,
    /// What its author added to `+INSTALL`.
    code: String,
    about: Vec<(String, Vec<u8>)>,
}

#[derive(Clone, Debug)]
struct Member {
    path: String,
    kind: EntryType,
    target: String,
    contents: Vec<u8>,
    mode: u32,
}

impl Package {
    /// A package of this name and version with no files.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            prefix: PREFIX.to_owned(),
            depends: Vec::new(),
            conflicts: Vec::new(),
            lines: Vec::new(),
            members: Vec::new(),
            data: Vec::new(),
            code: String::new(),
            about: Vec::new(),
        }
    }

    /// Name and version.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Made for another place than [`PREFIX`].
    #[must_use]
    pub fn prefix(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.prefix);
        self
    }

    /// Needs what matches a pattern.
    #[must_use]
    pub fn depends(mut self, pattern: &str) -> Self {
        self.depends.push(pattern.to_owned());
        self
    }

    /// Cannot be beside what matches a pattern.
    #[must_use]
    pub fn conflicts(mut self, pattern: &str) -> Self {
        self.conflicts.push(pattern.to_owned());
        self
    }

    /// Has a line in its packing list, here.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    /// Has a file, with its digest in the packing list.
    #[must_use]
    pub fn file(self, path: &str, contents: &[u8], mode: u32) -> Self {
        let md5 = Digest::MD5.hash_file(&mut &contents[..]).expect("bytes can be read");
        let listed = self.line(path).line(&format!("@comment MD5:{md5}"));
        listed.member(path, EntryType::Regular, "", contents, mode)
    }

    /// Has a symbolic link, with its target in the packing list.
    #[must_use]
    pub fn link(self, path: &str, target: &str) -> Self {
        let listed = self.line(path).line(&format!("@comment Symlink:{target}"));
        listed.member(path, EntryType::Symlink, target, b"", 0o777)
    }

    /// Has another name of one of its files.
    #[must_use]
    pub fn hard_link(self, path: &str, target: &str) -> Self {
        self.line(path).member(path, EntryType::Link, target, b"", 0o644)
    }

    /// Has a member of the archive that the packing list does not know of.
    #[must_use]
    pub fn member(mut self, path: &str, kind: EntryType, target: &str, contents: &[u8], mode: u32) -> Self {
        let (path, target) = (path.to_owned(), target.to_owned());
        self.members.push(Member { path, kind, target, contents: contents.to_vec(), mode });
        self
    }

    /// Has a line of data in `+INSTALL`, such as `FILE: etc/foo.conf c share/examples/foo.conf 0644`.
    #[must_use]
    pub fn data(mut self, line: &str) -> Self {
        self.data.push(format!("# {line}"));
        self
    }

    /// Has lines in `+INSTALL` that its author wrote.
    #[must_use]
    pub fn code(mut self, lines: &str) -> Self {
        self.code.push_str(lines);
        self
    }

    /// Has a service, and imports its manifest when it is installed.
    #[must_use]
    pub fn service(self, name: &str) -> Self {
        let manifest = format!("lib/svc/manifest/{name}.xml");
        let contents = format!("<service_bundle type='manifest' name='{name}'/>\n");
        let import = format!(
            "case ${{STAGE}} in\nPOST-INSTALL)\n\tcat <<EOF\nThis package has a service:\n\nEOF\n\tfor svc in default; do\n\
             \t\tcat <<EOF\n\tsvc:/pkgsrc/{name}:${{svc}}\nEOF\n\tdone\n\tif [ -z \"${{PKG_SKIP_SMF}}\" ]; then\n\
             \t\t/usr/sbin/svccfg import ${{PKG_PREFIX}}/{manifest}\n\telse\n\t\tcat <<EOF\nIt was not imported.\nEOF\n\tfi\n\t;;\nesac\n"
        );
        self.file(&manifest, contents.as_bytes(), 0o644).code(&import)
    }

    /// Has this file about itself, in place of what it would have.
    #[must_use]
    pub fn about(mut self, file: &str, contents: &[u8]) -> Self {
        self.about.push((file.to_owned(), contents.to_vec()));
        self
    }

    /// Its packing list.
    pub fn packing_list(&self) -> String {
        let mut text = format!("@comment made for tests\n@name {}\n", self.name);
        for pattern in &self.depends {
            let _ = writeln!(text, "@blddep {pattern}\n@pkgdep {pattern}");
        }
        for pattern in &self.conflicts {
            let _ = writeln!(text, "@pkgcfl {pattern}");
        }
        let _ = writeln!(text, "@cwd {}", self.prefix);
        for line in &self.lines {
            let _ = writeln!(text, "{line}");
        }
        text
    }

    /// Its script, none when there is nothing for it to do.
    pub fn script(&self) -> Option<String> {
        (!self.data.is_empty() || !self.code.is_empty()).then(|| script(&self.data, &self.code))
    }

    /// The files about it, in their order.
    pub fn files_about(&self) -> Vec<(String, Vec<u8>)> {
        let size: usize = self.members.iter().map(|member| member.contents.len()).sum();
        let info = format!(
            "CATEGORIES=tests\nHOMEPAGE=https://example.org/\nLICENSE=modified-bsd\nMACHINE_ARCH={MACHINE}\nOPSYS=SunOS\n\
             OS_VERSION=5.11\nPKGPATH=tests/{}\nPKGTOOLS_VERSION=20091115\n",
            base(&self.name)
        );
        let mut files = vec![
            ("+CONTENTS".to_owned(), self.packing_list().into_bytes()),
            ("+COMMENT".to_owned(), b"A package of the tests\n".to_vec()),
            ("+DESC".to_owned(), b"It has what its test is about.\n".to_vec()),
        ];
        if let Some(script) = self.script() {
            files.push(("+INSTALL".to_owned(), script.clone().into_bytes()));
        }
        files.push(("+BUILD_VERSION".to_owned(), b"tests/Makefile: 1\n".to_vec()));
        files.push(("+BUILD_INFO".to_owned(), info.into_bytes()));
        files.push(("+SIZE_PKG".to_owned(), format!("{size}\n").into_bytes()));
        files.push(("+SIZE_ALL".to_owned(), format!("{size}\n").into_bytes()));
        for (name, contents) in &self.about {
            match files.iter_mut().find(|(known, _)| known == name) {
                Some((_, known)) => known.clone_from(contents),
                None => files.push((name.clone(), contents.clone())),
            }
        }
        files
    }

    /// The package without a signature: a tar archive compressed with gzip.
    pub fn archive(&self) -> Vec<u8> {
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        for (name, contents) in self.files_about() {
            append(&mut tar, &name, EntryType::Regular, "", &contents, 0o644);
        }
        for Member { path, kind, target, contents, mode } in &self.members {
            append(&mut tar, path, *kind, target, contents, *mode);
        }
        tar.into_inner().and_then(GzEncoder::finish).expect("memory takes all")
    }

    /// The package with a signature.
    pub fn signed(&self, key: &Key) -> Vec<u8> {
        sign(&self.archive(), &self.name, key)
    }

    /// What the index of a repository says about it.
    pub fn summary(&self) -> String {
        let mut text = format!("PKGNAME={}\nCOMMENT=A package of the tests\n", self.name);
        for pattern in &self.depends {
            let _ = writeln!(text, "DEPENDS={pattern}");
        }
        for pattern in &self.conflicts {
            let _ = writeln!(text, "CONFLICTS={pattern}");
        }
        let _ = write!(
            text,
            "BUILD_DATE=2023-11-14 22:13:20 +0000\nCATEGORIES=tests\nDESCRIPTION=It has what its test is about.\n\
             MACHINE_ARCH={MACHINE}\nOPSYS=SunOS\nOS_VERSION=5.11\nPKGPATH=tests/{}\nPKGTOOLS_VERSION=20091115\nSIZE_PKG=1\n\
             FILE_NAME={}.tgz\nFILE_SIZE=1\n\n",
            base(&self.name),
            self.name
        );
        text
    }
}

/// Signs an archive as the package `name`.
pub fn sign(archive: &[u8], name: &str, key: &Key) -> Vec<u8> {
    let hash = PkgHash::from_tarball(name, archive, PkgHashAlgorithm::Sha512, DEFAULT_BLOCK_SIZE);
    let text = hash.expect("a package has a name and contents").to_string();
    let signed =
        SignedArchive::from_unsigned(archive.to_vec(), name, &key.sign(text.as_bytes()), Compression::Gzip);
    let mut bytes = Vec::new();
    signed.and_then(|signed| signed.write(&mut bytes)).expect("memory takes all");
    bytes
}

/// A key that signs packages.
#[derive(Clone, Debug)]
pub struct Key {
    secret: SignedSecretKey,
}

impl Key {
    /// A new key; the same seed gives the same numbers.
    pub fn new(seed: u64) -> Self {
        let parameters = SecretKeyParamsBuilder::default()
            .key_type(KeyType::Ed25519Legacy)
            .can_certify(true)
            .can_sign(true)
            .primary_user_id(format!("Packages {seed} <packages@example.org>"))
            .passphrase(None)
            .build()
            .expect("nothing is missing");
        let secret = parameters.generate(StdRng::seed_from_u64(seed)).expect("a key can be made");
        Self { secret }
    }

    /// The public key, as in a keyring.
    pub fn public(&self) -> Vec<u8> {
        self.secret.to_public_key().to_bytes().expect("memory takes all")
    }

    /// The public key as text.
    pub fn armored(&self) -> String {
        self.secret.to_public_key().to_armored_string(ArmorOptions::default()).expect("memory takes all")
    }

    /// A detached signature as text, which is what `gpg --detach-sign --armor` makes.
    pub fn sign(&self, text: &[u8]) -> Vec<u8> {
        let random = StdRng::seed_from_u64(1);
        let key = &self.secret.primary_key;
        DetachedSignature::sign_binary_data(random, key, &Password::empty(), HashAlgorithm::Sha256, text)
            .and_then(|signature| signature.to_armored_bytes(ArmorOptions::default()))
            .expect("a key can sign")
    }
}

/// Writes packages, signed or not, into a folder, and an index if its name is given: `pkg_summary.gz` or one without compression.
///
/// # Panics
/// When the folder cannot be written to.
pub fn repository(folder: &Path, packages: &[Package], key: Option<&Key>, index: Option<&str>) {
    fs::create_dir_all(folder).expect("the folder of a test can be made");
    for package in packages {
        let bytes = key.map_or_else(|| package.archive(), |key| package.signed(key));
        fs::write(folder.join(format!("{}.tgz", package.name)), bytes).expect("a package can be written");
    }
    if let Some(index) = index {
        let text: String = packages.iter().map(Package::summary).collect();
        let bytes =
            if index.strip_suffix(".gz").is_some() { gzip(text.as_bytes()) } else { text.into_bytes() };
        fs::write(folder.join(index), bytes).expect("an index can be written");
    }
}

/// A bootstrap kit: a compressed tar archive, to be unpacked at `/`, of packages that are installed, with their database in `.pkgdb`.
pub fn bootstrap(packages: &[Package]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    let prefix = PREFIX.trim_start_matches('/');
    for package in packages {
        for Member { path, kind, target, contents, mode } in &package.members {
            append(&mut tar, &format!("{prefix}/{path}"), *kind, target, contents, *mode);
        }
        for (name, contents) in package.files_about() {
            let path = format!("{prefix}/.pkgdb/{}/{name}", package.name);
            append(&mut tar, &path, EntryType::Regular, "", &contents, 0o644);
        }
    }
    tar.into_inner().and_then(GzEncoder::finish).expect("memory takes all")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory takes all")
}

fn append<W: std::io::Write>(
    tar: &mut tar::Builder<W>,
    path: &str,
    kind: EntryType,
    target: &str,
    contents: &[u8],
    mode: u32,
) {
    let mut header = Header::new_gnu();
    // Paths are written as they are: tests make archives that no tool would.
    let name = &mut header.as_old_mut().name;
    assert!(path.len() <= name.len() && target.len() <= 100, "paths of tests are short");
    name[..path.len()].copy_from_slice(path.as_bytes());
    header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.set_entry_type(kind);
    header.set_size(contents.len() as u64);
    header.set_mode(mode);
    header.set_mtime(MODIFIED);
    header.set_uid(0);
    header.set_gid(0);
    header.set_username("root").and_then(|()| header.set_groupname("root")).expect("short names");
    header.set_cksum();
    tar.append(&header, contents).expect("memory takes all");
}

/// A script of pkgsrc's shape: helpers in here-documents, generated calls, the author's lines, and the data.
fn script(data: &[String], code: &str) -> String {
    const HELPERS: [(&str, &[&str]); 6] = [
        ("+USERGROUP", &["GROUP", "USER"]),
        ("+DIRS", &["DIR"]),
        ("+FILES", &["FILE"]),
        ("+PERMS", &["PERMS"]),
        ("+SHELL", &["SHELL"]),
        ("+FONTS", &["FONTS"]),
    ];
    let mut text = String::from(
        "#!/sbin/sh\n\nSELF=\"$0\"\nPKGNAME=\"$1\"\nSTAGE=\"$2\"\nshift 2\n\nCAT=\"/usr/bin/cat\"\nSED=\"/usr/bin/sed\"\n\
         CHMOD=\"/usr/bin/chmod\"\nTEST=\"test\"\nSH=\"/bin/sh\"\nCURDIR=`${PWD_CMD}`\n: ${PKG_METADATA_DIR=${CURDIR}}\n\
         case \"${PKG_CONFIG:-yes}\" in\n[Yy][Ee][Ss]|[Tt][Rr][Uu][Ee]|[Oo][Nn]|1)\n\t_PKG_CONFIG=yes\n\t;;\nesac\n\n",
    );
    for (helper, tags) in HELPERS {
        let _ = write!(
            text,
            "case \"${{STAGE}},$1\" in\nUNPACK,|UNPACK,{helper})\n\t${{CAT}} > ./{helper} << 'EOF'\n#!/sbin/sh\n\
             # The helper {helper}.\ncase \"${{PKG_RCD_SCRIPTS:-no}}\" in\nno) ;;\nesac\n: ${{home:=\"/nonexistent\"}}\n\
             : ${{shell:=\"/usr/bin/false\"}}\nexit 0\nEOF\n"
        );
        for tag in tags {
            let _ = writeln!(text, "\t${{SED}} -n \"/^\\# {tag}: /p\" ${{SELF}} >> ./{helper}");
        }
        let _ = write!(text, "\t${{CHMOD}} +x ./{helper}\n\t;;\nesac\n\n");
    }
    text.push_str(
        "case ${STAGE} in\nPRE-INSTALL)\n\t${SH} ${SELF} ${PKGNAME} UNPACK\n\t${TEST} ! -x ./+USERGROUP ||\n\
         \t\t{ ./+USERGROUP ADD ${PKG_METADATA_DIR}\n\t\t  if ./+USERGROUP CHECK-ADD ${PKG_METADATA_DIR}; then\n\t\t\t:\n\
         \t\t  else\n\t\t\texit 1\n\t\t  fi; }\n\t${TEST} ! -x ./+DIRS ||\n\t\t./+DIRS ADD ${PKG_METADATA_DIR}\n\t;;\n\n\
         POST-INSTALL)\n\t${TEST} ! -x ./+FILES ||\n\t\t./+FILES ADD ${PKG_METADATA_DIR}\n\t${TEST} ! -x ./+PERMS ||\n\
         \t\t./+PERMS ${PKG_METADATA_DIR}\n\t;;\nesac\n\n",
    );
    text.push_str(code);
    text.push_str("\nexit 0\n\n");
    for line in data {
        let _ = writeln!(text, "{line}");
    }
    text
}

fn base(name: &str) -> &str {
    name.rsplit_once('-').map_or(name, |(base, _)| base)
}
