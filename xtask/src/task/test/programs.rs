//! Test programs, as many at once as there are cores.
//!
//! cargo runs one after the other, and most of those that start machines spend their time waiting for one.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::machine;

/// A test program that cargo has built.
#[derive(Debug, PartialEq, Eq)]
struct Program {
    /// The name of its target, such as `cli_retro`, behind that of its package's folder.
    name: String,
    /// The folder of its package, where it runs.
    package: PathBuf,
    path: PathBuf,
}

/// Builds what `tests`, a `cargo test`, names, and runs it, with the variables that are set for the command. What a program
/// wrote is shown when it has ended.
///
/// # Errors
/// Something cannot be built, or programs failed: all have run then.
pub fn run(mut tests: Command) -> Result<()> {
    let programs = build(&mut tests)?;
    ensure!(!programs.is_empty(), "there is nothing to test");
    let failed = machine::at_once(&programs, |program| &program.name, |program| run_one(program, &tests));
    ensure!(failed.is_empty(), "tests failed in {}", failed.join(", "));
    Ok(())
}

/// Builds the programs; cargo shows what it does and what is wrong.
fn build(tests: &mut Command) -> Result<Vec<Program>> {
    tests.args(["--no-run", "--message-format=json-render-diagnostics"]);
    let output =
        tests.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    ensure!(output.status.success(), "the tests cannot be built: {}", output.status);
    let mut programs = Vec::new();
    for line in output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        programs.extend(program_of(&serde_json::from_slice(line).context("cargo says what is no JSON")?));
    }
    Ok(programs)
}

/// The test program of which a message of cargo's tells; most tell of something else.
fn program_of(message: &Value) -> Option<Program> {
    if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
        return None;
    }
    let path = PathBuf::from(message["executable"].as_str()?);
    let package = Path::new(message["manifest_path"].as_str()?).parent()?.to_owned();
    let folder = package.file_name()?.to_str()?;
    let name = format!("{folder} {}", message["target"]["name"].as_str()?);
    Some(Program { name, package, path })
}

/// Runs one program, with the variables of `tests` and those that cargo would set.
fn run_one(program: &Program, tests: &Command) -> Result<()> {
    let start = Instant::now();
    let (status, said) = capture(program, tests)?;
    let seconds = start.elapsed().as_secs();
    // In one piece, so that the words of two programs do not mix.
    let mut text = format!("\n--- {} ({seconds} s)\n", program.name).into_bytes();
    text.extend(said);
    io::stdout().lock().write_all(&text)?;
    ensure!(status.success(), "{status}");
    Ok(())
}

/// What the program gives and both its outputs, in the order in which they were written.
fn capture(program: &Program, tests: &Command) -> Result<(ExitStatus, Vec<u8>)> {
    let cannot = || format!("cannot run {}", program.path.display());
    let (mut said, writer) = io::pipe().with_context(cannot)?;
    let mut command = Command::new(&program.path);
    command.current_dir(&program.package).env("CARGO_MANIFEST_DIR", &program.package);
    for (name, value) in tests.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let errors = writer.try_clone().with_context(cannot)?;
    let mut child =
        command.stdin(Stdio::null()).stdout(writer).stderr(errors).spawn().with_context(cannot)?;
    // The command holds the ends that are written to, and would keep the other from ever ending.
    drop(command);
    let mut text = Vec::new();
    said.read_to_end(&mut text).with_context(cannot)?;
    Ok((child.wait().with_context(cannot)?, text))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use kiln_harness::scratch;
    use serde_json::json;

    use super::*;

    #[test]
    fn programs_are_told_from_what_else_cargo_builds() {
        let message = |is_test: bool, executable: Option<&str>| {
            json!({
                "reason": "compiler-artifact",
                "manifest_path": "/kiln/tests/e2e/Cargo.toml",
                "target": {"kind": ["test"], "name": "cli_retro"},
                "profile": {"test": is_test},
                "executable": executable,
            })
        };
        let program = Program {
            name: "e2e cli_retro".into(),
            package: "/kiln/tests/e2e".into(),
            path: "/target/cli_retro-1".into(),
        };
        assert_eq!(program_of(&message(true, Some("/target/cli_retro-1"))), Some(program));
        assert_eq!(program_of(&message(false, Some("/target/kiln"))), None);
        assert_eq!(program_of(&message(true, None)), None);
        assert_eq!(program_of(&json!({"reason": "build-finished", "success": true})), None);
    }

    #[test]
    fn a_program_says_all_and_has_the_variables_of_the_tests() {
        let shell = |script: &str| {
            let file = scratch::folder("program");
            let path = file.path().join("script");
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            let mut tests = Command::new("cargo");
            tests.env("GIVEN", "value").env_remove("HOME");
            let package = file.path().to_owned();
            capture(&Program { name: "script".into(), package, path }, &tests).unwrap()
        };
        let (status, said) = shell("echo \"$GIVEN ${HOME-none}\"; echo bad >&2; exit 3");
        assert_eq!((status.code(), said.as_slice()), (Some(3), b"value none\nbad\n".as_slice()));
        assert!(shell("test . -ef \"$CARGO_MANIFEST_DIR\"").0.success());
    }
}
