//! `cargo xtask setup`: the Debian packages that tests and the demo need. All are installed but cloud-init and the SSH server
//! for guests, which are only unpacked.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use kiln_harness::unpacked::Unpacked;
use kiln_harness::{account, cloud_init, recipe, ssh_server, tools};

use crate::apt::plan::{self, NewSource, Plan};
use crate::apt::policy::{self, Policy};
use crate::apt::sources;
use crate::machine;

/// A foreign program or file, and the Debian package that has it.
struct Need {
    package: &'static str,
    found: Found,
}

/// What shows that a package is there. A program counts wherever it came from.
enum Found {
    Program(&'static str),
    /// One of these files.
    File(&'static [&'static str]),
    /// Whatever this looks for.
    Look(fn() -> bool),
}

impl Need {
    const fn program(package: &'static str, program: &'static str) -> Self {
        Self { package, found: Found::Program(program) }
    }

    fn is_met(&self) -> bool {
        match self.found {
            Found::Program(name) => tools::find(name).is_some(),
            Found::File(paths) => paths.iter().any(|path| Path::new(path).is_file()),
            Found::Look(look) => look(),
        }
    }
}

/// What booting an image takes.
const EMULATOR: &[Need] = &[Need::program("qemu-system-x86", "qemu-system-x86_64")];

/// What booting a real platform takes besides.
const VISITORS: &[Need] =
    &[Need::program("openssh-client", "ssh"), Need::program("openssh-client", "ssh-keygen")];

/// What judges images and their parts.
const JUDGES: &[Need] = &[
    Need::program("binutils", "ar"),
    Need::program("bzip2", "bzip2"),
    Need::program("dosfstools", "fsck.vfat"),
    Need::program("e2fsprogs", "mke2fs"),
    Need::program("fdisk", "sfdisk"),
    Need::program("file", "file"),
    Need {
        package: "grub-legacy",
        found: Found::File(&["/usr/lib/grub/x86_64-pc/stage2", "/usr/lib/grub/i386-pc/stage2"]),
    },
    Need::program("gnupg", "gpg"),
    Need::program("libarchive-tools", "bsdtar"),
    Need::program("libxml2-utils", "xmllint"),
    Need { package: "locales", found: Found::File(&["/usr/share/i18n/locales/tr_TR"]) },
    Need::program("mtools", "mcopy"),
    Need::program("nodejs", "node"),
    Need::program("npm", "npm"),
    Need::program("openssl", "openssl"),
    Need::program("pigz", "pigz"),
    Need::program("procps", "kill"),
    // Debian's own, which cloud-init's modules are for.
    Need { package: "python3", found: Found::File(&["/usr/bin/pydoc3"]) },
    Need::program("qemu-utils", "qemu-img"),
    Need::program("xz-utils", "xz"),
    Need::program("zfs-fuse", "zfs-fuse"),
];

/// What building the guest of ring 3 takes.
const GUEST_BUILDERS: &[Need] = &[
    Need::program("cpio", "cpio"),
    Need::program("e2fsprogs", "mke2fs"),
    Need::program("mmdebstrap", "mmdebstrap"),
];

/// What building kiln with the feature `native-zfs` takes.
const ZFS_BUILDERS: &[Need] = &[
    Need { package: "libclang-dev", found: Found::Look(libclang_is_there) },
    Need { package: "libzfslinux-dev", found: Found::File(&["/usr/include/libzfs/libzfs_core.h"]) },
];

/// Whether some version of libclang is there together with the headers that belong to it, as bindgen needs.
fn libclang_is_there() -> bool {
    let names = |folder: &Path| -> Vec<_> {
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    names(Path::new("/usr/lib")).into_iter().map(|version| version.join("lib")).any(|libraries| {
        libraries.join("libclang.so").exists()
            && names(&libraries.join("clang"))
                .iter()
                .any(|version| version.join("include/stddef.h").is_file())
    })
}

/// What building the fuzz targets takes: libFuzzer is written in C++.
const FUZZ_BUILDERS: &[Need] = &[Need::program("g++", "c++")];

/// What a task is going to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Purpose {
    /// Boot an image.
    Boot,
    /// Boot a real platform and look into it.
    Real,
    /// Run unit tests and the command line against foreign tools.
    Judge,
    /// Run real systems.
    Machines,
    /// Build kiln with the feature native-zfs.
    NativeZfs,
    /// Run fuzz targets.
    Fuzz,
}

impl Purpose {
    fn needs(self) -> Vec<&'static Need> {
        match self {
            Purpose::Boot => EMULATOR.iter().collect(),
            Purpose::Real => EMULATOR.iter().chain(VISITORS).collect(),
            Purpose::Judge => JUDGES.iter().collect(),
            Purpose::Fuzz => FUZZ_BUILDERS.iter().collect(),
            Purpose::Machines => {
                EMULATOR.iter().chain(VISITORS).chain(JUDGES).chain(GUEST_BUILDERS).collect()
            }
            Purpose::NativeZfs => ZFS_BUILDERS.iter().collect(),
        }
    }
}

/// Install the Debian packages that tests and the demo need, or say how.
#[derive(Debug, Args)]
pub struct Setup {
    /// What the packages are for [default: everything].
    #[arg(value_enum, value_name = "PURPOSE")]
    purposes: Vec<Purpose>,
}

/// Runs the task.
pub fn run(setup: &Setup) -> Result<()> {
    ensure(if setup.purposes.is_empty() { Purpose::value_variants() } else { &setup.purposes })
}

/// Sees to it that everything for `purposes` is there. As root it installs what is missing; otherwise it names the
/// command that does.
pub fn ensure(purposes: &[Purpose]) -> Result<()> {
    let missing = missing(purposes);
    if !missing.is_empty() {
        install(purposes, &missing)?;
    }
    if purposes.iter().any(|purpose| matches!(purpose, Purpose::Judge | Purpose::Machines)) {
        unpack("cloud-init and its modules", &cloud_init::PACKAGES)?;
    }
    if purposes.contains(&Purpose::Machines) {
        unpack("an SSH server for guests", &ssh_server::PACKAGES)?;
    }
    Ok(())
}

/// Puts what must not be installed into the user's cache.
fn unpack(what: &str, packages: &Unpacked) -> Result<()> {
    if packages.is_there() {
        return Ok(());
    }
    eprintln!("unpacking {what} into {}", recipe::cache_folder().display());
    if account::is_root() {
        apt_get(&["update"].map(str::to_owned))?;
    }
    packages
        .unpack()
        .with_context(|| format!("cannot get {what} from Debian's archive; `sudo apt-get update` may help"))
}

fn install(purposes: &[Purpose], missing: &[&str]) -> Result<()> {
    machine::debian_codename()
        .with_context(|| format!("these Debian packages are missing: {}", missing.join(" ")))?;
    if !account::is_root() {
        bail!(
            "these Debian packages are missing: {}\nhint: run `{}`",
            missing.join(" "),
            command_for_root(missing)?
        );
    }
    eprintln!("installing Debian packages: {}", missing.join(" "));
    apt_get(&["update"].map(str::to_owned))?;
    if let Some(new) = find_contrib(missing)? {
        add_source(&new)?;
        apt_get(&["update"].map(str::to_owned))?;
    }
    let plan = make_plan(missing)?;
    if let Some(new) = &plan.source {
        add_source(new)?;
        apt_get(&["update"].map(str::to_owned))?;
    }
    for install in &plan.installs {
        apt_get(&install.arguments())?;
    }
    let still = self::missing(purposes);
    if !still.is_empty() {
        bail!(
            "apt-get installed these packages, but what they are needed for is not there: {}",
            still.join(" ")
        );
    }
    Ok(())
}

/// Names of the packages for `purposes` that are not there, each once, sorted.
fn missing(purposes: &[Purpose]) -> Vec<&'static str> {
    let mut packages: Vec<_> = purposes
        .iter()
        .flat_map(|purpose| purpose.needs())
        .filter(|need| !need.is_met())
        .map(|need| need.package)
        .collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

/// The command that installs `missing`. It is this very task where a source has to be added as well.
fn command_for_root(missing: &[&str]) -> Result<String> {
    // The lists of packages may be empty before the first update, so that no plan can be made.
    let simple = match make_plan(missing) {
        Ok(Plan { source: None, installs }) => installs,
        _ => Vec::new(),
    };
    match simple.as_slice() {
        [] => {
            let program = std::env::current_exe().context("cannot find this program")?;
            Ok(format!("sudo {} setup", program.display()))
        }
        installs => {
            let calls =
                installs.iter().map(|install| format!("sudo apt-get {}", install.arguments().join(" ")));
            let calls: Vec<_> = calls.collect();
            Ok(format!("sudo apt-get update && {}", calls.join(" && ")))
        }
    }
}

fn find_contrib(missing: &[&str]) -> Result<Option<NewSource>> {
    let sources = sources::read_all(Path::new("/"))?;
    plan::contrib(missing, &machine::debian_codename()?, &sources, &policies(missing)?)
}

fn policies(missing: &[&str]) -> Result<BTreeMap<String, Policy>> {
    let (_, text) = machine::capture(Command::new("apt-cache").arg("policy").args(plan::QEMU).args(missing))?;
    Ok(policy::parse(&text))
}

fn make_plan(missing: &[&str]) -> Result<Plan> {
    let codename = machine::debian_codename()?;
    let sources = sources::read_all(Path::new("/"))?;
    let policies = policies(missing)?;
    let (succeeded, output) = machine::capture(
        Command::new("apt-get").args(["install", "--simulate", "--no-install-recommends"]).args(missing),
    )?;
    plan::plan(missing, &codename, &sources, &policies, policy::judge(succeeded, &output))
}

fn add_source(new: &NewSource) -> Result<()> {
    let path = Path::new("/etc/apt/sources.list.d").join(&new.file);
    eprintln!("{}\nadding {}:\n{}", new.reason, path.display(), new.source.deb822());
    fs::write(&path, new.source.deb822()).with_context(|| format!("cannot write {}", path.display()))
}

fn apt_get(arguments: &[String]) -> Result<()> {
    machine::run(
        Command::new("apt-get")
            .args(["--quiet", "-o", "Acquire::Retries=5", "-o", "DPkg::Lock::Timeout=300"])
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(std::io::stderr()),
    )
}
