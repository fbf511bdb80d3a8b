//! `guest-init --plan`: what each phase would do, told without doing any of it.

use kiln_e2e::first_boot::{Guest, Image, differences, logs};
use kiln_shim::trace;
use kiln_simulator::{Boot, BootOptions, Era};

const PHASES: [&str; 5] = ["storage", "identity", "setup", "init", "userscript"];

/// Boots, after the services or without any, and then asks for the plan of each phase. The trace has what programs of the
/// guest did.
fn planned(guest: &Guest<'_>, services: bool) -> (Boot, Vec<trace::Call>) {
    let plan = |phase: &str| ["/lib/svc/method/guest-init", "--plan", phase].map(str::to_owned).to_vec();
    let file = guest.machine.folder().join("trace");
    let _ = std::fs::remove_file(&file);
    let mut options = guest.options();
    options.settings = options.settings.trace(&file);
    let boot = guest.boot(&BootOptions { services, commands: PHASES.map(plan).into(), ..options });
    assert_eq!(boot.outputs.len(), PHASES.len(), "{}", logs(&boot));
    for (phase, output) in PHASES.iter().zip(&boot.outputs) {
        assert_eq!(output.status, Some(0), "{phase}: {output:?}");
        let lines: Vec<&str> = output.stdout.lines().collect();
        assert!(!lines.is_empty(), "{phase}: {output:?}");
        assert!(lines.iter().all(|line| line.starts_with(&format!("guest-init {phase}: "))), "{lines:#?}");
    }
    (boot, trace::read(&file).expect("a trace"))
}

/// Whether a call changes a file system.
fn changes_files(call: &trace::Call) -> bool {
    const CHANGES: [&str; 20] = [
        "chmod",
        "chown",
        "fchmod",
        "fchmodat",
        "fchown",
        "fchownat",
        "fsync",
        "ftruncate",
        "lchown",
        "link",
        "mkdir",
        "mkdirat",
        "mknod",
        "mknodat",
        "rename",
        "renameat",
        "rmdir",
        "symlink",
        "unlink",
        "unlinkat",
    ];
    CHANGES.contains(&&*call.name)
        || call.name.starts_with("open") && call.change.is_some() && !call.arguments.contains("/dev/")
}

#[test]
fn a_plan_of_a_machine_that_never_booted_leaves_it_so() {
    for era in [Era::ALL[0], Era::ALL[5]] {
        let Some(image) = Image::build(era) else { return };
        let mut guest = image.usual_guest("guest");
        guest.start_host();
        let before = guest.lasting();
        let untouched = guest.boot(&BootOptions { services: false, ..guest.options() });
        let (boot, calls) = planned(&guest, false);
        assert_eq!(differences(&before, &guest.lasting()), [""; 0], "{era}");
        assert!(guest.machine.pools().unwrap().is_empty(), "{era}");
        assert_eq!(boot.runtime.network, untouched.runtime.network, "{era}\n{}", logs(&boot));
        assert_eq!(boot.runtime.host.name, untouched.runtime.host.name, "{era}");
        let changes: Vec<_> = calls.iter().filter(|call| changes_files(call)).collect();
        assert!(changes.is_empty() && trace::disk_writes(&calls).is_empty(), "{era} {changes:#?}");
        assert_eq!(boot.console, untouched.console, "{era}");
    }
}

#[test]
fn a_plan_of_a_machine_that_is_up_changes_nothing() {
    let Some(image) = Image::build(Era::ALL[1]) else { return };
    let mut guest = image.usual_guest("guest");
    guest.start_host();
    let first = guest.boot(&guest.options());
    let lasting = guest.lasting();
    let (boot, _) = planned(&guest, true);
    assert_eq!(differences(&lasting, &guest.lasting()), [""; 0]);
    assert_eq!(boot.runtime.network, first.runtime.network);
    assert_eq!(boot.console, guest.boot(&guest.options()).console);
    for (phase, output) in PHASES.iter().zip(&boot.outputs) {
        assert!(!output.stdout.contains("would change"), "{phase}: {output:?}");
    }
}
