//! The image server's own judge of manifests, the npm package `imgmanifest`, under Node.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use sha1::{Digest, Sha1};

use crate::{recipe, tools};

/// The judge, with what it needs installed for it; nothing after a loud skip when node or npm is missing.
///
/// # Panics
/// It cannot be installed.
pub fn judge() -> Option<Command> {
    let (node, npm) = (tools::require("node")?, tools::require("npm")?);
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/imgmanifest");
    let lock = fs::read(fixture.join("package-lock.json")).expect("it is in the repository");
    let digest = Sha1::digest(&lock).iter().take(8).fold(0u64, |digest, &byte| digest << 8 | u64::from(byte));
    let cache = recipe::cache_folder();
    let folder = cache.join(format!("npm-{digest:016x}"));
    if !folder.join("node_modules").is_dir() {
        // Installed aside and renamed, so that a run that was cut short leaves no half of it.
        let partial = cache.join(format!("npm-{digest:016x}.{}", std::process::id()));
        fs::create_dir_all(&partial).expect("the cache can be written to");
        for file in ["package.json", "package-lock.json"] {
            fs::copy(fixture.join(file), partial.join(file)).expect("the cache can be written to");
        }
        let install =
            Command::new(npm).args(["ci", "--no-audit", "--no-fund"]).current_dir(&partial).output();
        let output = install.expect("npm starts");
        assert!(output.status.success(), "npm ci: {}", String::from_utf8_lossy(&output.stderr));
        if fs::rename(&partial, &folder).is_err() {
            // Another run was faster.
            fs::remove_dir_all(&partial).expect("what was made can be removed");
        }
    }
    // The folder is every checkout's, so the judge stays where it is and is told where the oracle lies.
    let mut judge = Command::new(node);
    judge.arg(fixture.join("judge.js")).env("NODE_PATH", folder.join("node_modules"));
    Some(judge)
}

/// What the judge says, as JSON: for each of the cases, `[KIND, CHANNELS, MANIFEST]` in a JSON list, the fields at fault.
///
/// # Panics
/// The judge broke down.
pub fn verdicts(mut judge: Command, cases: &str) -> String {
    let mut node = judge.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("node starts");
    let mut input = node.stdin.take().expect("it is piped");
    input.write_all(cases.as_bytes()).expect("the judge reads everything");
    drop(input);
    let output = node.wait_with_output().expect("the judge ends");
    assert!(output.status.success(), "the judge ended with {}", output.status);
    String::from_utf8(output.stdout).expect("JSON is UTF-8")
}
