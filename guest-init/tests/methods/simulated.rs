//! The simulator under the names of illumos' commands, in a guest that is a folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use kiln_shim::guests;
use kiln_simulator::program::Logged;
use kiln_simulator::{Hardware, World, commands};

use crate::stage::Stage;

/// Where the guest's machine lies.
const MACHINE: &str = "/.simulator";

/// The simulator, for any root folder.
fn simulator() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        const TARGET: &str = "x86_64-unknown-linux-musl";
        let mut cargo = guests::cargo();
        cargo.args([
            "build",
            "--quiet",
            "--locked",
            "--package",
            "kiln-simulator",
            "--bin",
            "simulator",
            "--target",
        ]);
        assert!(cargo.arg(TARGET).status().expect("cargo starts").success());
        kiln_harness::scratch::target_folder().join(TARGET).join("debug/simulator")
    })
}

/// Puts the commands into a guest on such a machine.
pub fn install(stage: &Stage, hardware: &Hardware) {
    fs::create_dir_all(stage.path("/.simulator/boot")).expect("made");
    fs::write(stage.path("/.simulator/hardware.json"), serde_json::to_vec(hardware).expect("JSON"))
        .expect("written");
    // By another process, because what this one has open for writing could not be started by a thread of its own.
    let program = stage.path("/.simulator/program");
    assert!(Command::new("cp").arg(simulator()).arg(&program).status().expect("cp starts").success());
    for command in commands::all() {
        let path = stage.path(command.path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        // Some are there under the same name for several eras.
        if !path.exists() {
            fs::hard_link(&program, path).expect("linked");
        }
    }
}

/// The machine of a guest.
pub fn world(stage: &Stage) -> World {
    World::load(&stage.path(MACHINE), &stage.path("/")).expect("a machine")
}

/// The commands that were run since `before`.
pub fn commands_run(stage: &Stage, before: usize) -> Vec<String> {
    let log = fs::read_to_string(stage.path("/.simulator/commands.log")).unwrap_or_default();
    let lines = log.lines().skip(before);
    let read = |line| serde_json::from_str::<Logged>(line).expect("a line").argv.join(" ");
    lines.map(read).collect()
}
