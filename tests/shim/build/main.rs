//! Builds the ABI shim, where it can run: on x86-64 Linux.
//!
//! What comes out, in `OUT_DIR/shim`:
//! * `libabi-shim.so`: the functions of `c/`, under names of their own, linked with glibc in the ordinary way;
//! * `new/` and `old/` with `libc.so.1`, `libsocket.so.1`, `libm.so.2`: illumos' names, each a jump into that library or to
//!   the function that reports it as missing. Being objects of their own they can define `open` without hiding glibc's;
//! * `missing.txt`: the names that end a program which calls them;
//! * `abi-run`: the launcher;
//! * `host/`: the machine's loader and C library, to be linked into root folders.

mod names;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use names::{NEW_NAMES_SINCE, Names};

/// The list of names that guest programs are linked by.
const LIST: &str = "../../guest-rt/symbols.txt";
const SOURCES: &str = "c";
const SAME: &str = "same.txt";
/// The source that is the launcher; launch.c belongs to it and to the library.
const LAUNCHER: &str = "abi-run.c";
const LAUNCH: &str = "launch.c";

const C_FLAGS: [&str; 7] =
    ["-std=gnu17", "-O1", "-g", "-Wall", "-Wextra", "-fno-strict-aliasing", "-fvisibility=hidden"];

fn main() {
    for path in [LIST, SOURCES, SAME, "build"] {
        println!("cargo:rerun-if-changed={path}");
    }
    println!("cargo:rerun-if-env-changed=CC");
    let target = |name: &str| env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    if target("OS") != "linux" || target("ARCH") != "x86_64" || target("ENV") != "gnu" {
        return;
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("shim");
    println!("cargo:rustc-env=KILN_SHIM={}", out.display());
    println!("cargo:rustc-env=KILN_SHIM_NEW_NAMES_SINCE={NEW_NAMES_SINCE}");
    if let Err(error) = build(&out) {
        eprintln!("the ABI shim: {error}");
        std::process::exit(1);
    }
}

fn build(out: &Path) -> Result<(), String> {
    let sources = sources()?;
    let names = Names::read(&read(LIST)?, &read(SAME)?, &sources)?;
    for folder in ["new", "old", "host"] {
        fs::create_dir_all(out.join(folder)).map_err(|error| format!("{}: {error}", out.display()))?;
    }

    let table = out.join("names.c");
    write(&table, &names.table())?;
    let library = sources.iter().map(|source| &source.path).filter(|path| !path.ends_with(LAUNCHER));
    let core = out.join("libabi-shim.so");
    compile(
        Command::new(compiler())
            .args(C_FLAGS)
            .args(["-fPIC", "-shared"])
            .args(library)
            .arg(&table)
            .args(["-Wl,-soname,libabi-shim.so", "-Wl,-z,defs", "-o"])
            .arg(&core),
    )?;

    write(&out.join("missing.txt"), &names.missing())?;
    let versions = out.join("versions.map");
    write(&versions, "ABI_SHIM { global: *; };\n")?;
    for variant in ["new", "old"] {
        for library in &names.libraries {
            let assembly = out.join(variant).join(format!("{}.s", library.soname));
            write(&assembly, &names.jumps(library, variant == "new"))?;
            let mut link = Command::new(compiler());
            link.args(["-shared", "-nostdlib", "-Wl,--no-as-needed"]).arg(&assembly).arg(&core);
            link.arg(format!("-Wl,-soname,{}", library.soname));
            link.arg(format!("-Wl,--version-script={}", versions.display()));
            link.arg("-Wl,-rpath,$ORIGIN:$ORIGIN/..,--enable-new-dtags");
            if library.soname.starts_with("libm.") {
                link.arg("-lm");
            }
            compile(link.arg("-o").arg(out.join(variant).join(&library.soname)))?;
        }
    }

    compile(
        Command::new(compiler())
            .args(C_FLAGS)
            .arg(format!("-DNEW_NAMES_SINCE=\"{NEW_NAMES_SINCE}\""))
            .args([LAUNCHER, LAUNCH].map(|name| Path::new(SOURCES).join(name)))
            .arg("-o")
            .arg(out.join("abi-run")),
    )?;
    ["ld-linux-x86-64.so.2", "libc.so.6", "libm.so.6"]
        .iter()
        .try_for_each(|name| copy_library(name, &out.join("host").join(name)))
}

/// A file of `c/`.
pub struct Source {
    path: PathBuf,
    text: String,
}

fn sources() -> Result<Vec<Source>, String> {
    let entries = fs::read_dir(SOURCES).map_err(|error| format!("{SOURCES}: {error}"))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "c"));
    paths.sort();
    paths.into_iter().map(|path| Ok(Source { text: read(&path)?, path })).collect()
}

/// Copies one of the machine's libraries, from where the C compiler would link it.
fn copy_library(name: &str, to: &Path) -> Result<(), String> {
    let output = Command::new(compiler())
        .arg(format!("-print-file-name={name}"))
        .output()
        .map_err(|error| format!("{}: {error}", compiler()))?;
    let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let bytes = fs::read(&path).map_err(|error| format!("{name}, of the C library: {path}: {error}"))?;
    // A new file, since the old one may be linked into somebody's root folder.
    let new = to.with_extension("new");
    fs::write(&new, bytes)
        .and_then(|()| fs::set_permissions(&new, executable()))
        .and_then(|()| fs::rename(&new, to))
        .map_err(|error| format!("{}: {error}", to.display()))
}

fn executable() -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    fs::Permissions::from_mode(0o555)
}

fn compiler() -> String {
    env::var("CC").unwrap_or_else(|_| "cc".to_owned())
}

fn compile(command: &mut Command) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?}: {status}")),
        Err(error) => Err(format!("{}: {error} (a C compiler is needed to build it)", compiler())),
    }
}

fn read(path: impl AsRef<Path>) -> Result<String, String> {
    let path = path.as_ref();
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
