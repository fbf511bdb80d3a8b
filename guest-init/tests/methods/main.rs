//! The shipped program as SMF sees it: what it is called, how it ends, and what it leaves.

#![cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]

mod identity;
mod setup;
mod simulated;
mod stage;

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kiln_shim::{Counts, Moment, clock, trace};
use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::process::{Flock, FlockType, Pid, Signal, fcntl_getlk, kill_process};
use serde_json::{Value, json};
use stage::{Ended, PROGRAM, Stage};

const INIT: &str = "/lib/svc/method/smartdc-init";
const USERSCRIPT: &str = "/lib/svc/method/smartos-userscript";

fn machine(keys: &Value) -> Value {
    json!({"uuid": "5f2b5b0a-0000-4000-8000-000000000001", "customer_metadata": keys})
}

#[test]
fn a_method_runs_its_phase_and_stop_does_nothing() {
    let stage = Stage::new();
    let before = stage.files();
    assert_eq!(
        stage.method(&[INIT, "stop"]),
        Ended { code: Some(0), stdout: String::new(), stderr: String::new() }
    );
    assert_eq!(stage.files(), before);
    assert_eq!(stage.method(&[INIT, "start"]).code, Some(0));
    assert_eq!(stage.result_of("init")["changed"], json!(["tool-logs"]));
    assert!(stage.path("/var/log/vm/logs").is_dir() && stage.path("/var/log/fw/fwadm.log").is_file());
    let console = fs::read_to_string(stage.path("/dev/console")).expect("a console");
    assert_eq!(console, "guest-init init: ok, changed tool-logs\r\n");
    assert_eq!(stage.method(&[INIT, "start"]).code, Some(0));
    assert_eq!(stage.result_of("init")["changed"], json!([]), "the second time there is nothing to do");
}

#[test]
fn outside_smf_it_has_to_be_said_twice() {
    let stage = Stage::new();
    let before = stage.files();
    for words in [&[PROGRAM, "init"][..], &[PROGRAM, "init", "--outside-smf"], &[PROGRAM], &[PROGRAM, "bake"]]
    {
        let refused = stage.by_hand(words);
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""), "{words:?}");
        assert!(refused.stderr.starts_with("guest-init: "), "{refused:?}");
    }
    assert_eq!(stage.files(), before);
    let done = stage.by_hand(&[PROGRAM, "init", "--outside-smf", "--outside-smf"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let status = stage.by_hand(&[PROGRAM, "status"]);
    assert_eq!(status.code, Some(0));
    assert!(status.stdout.ends_with("  init: ok, changed tool-logs\n"), "{status:?}");
    let status = stage.by_hand(&[PROGRAM, "status", "--json"]);
    let status: Value = serde_json::from_str(&status.stdout).expect("JSON");
    assert_eq!(status["phases"][0]["phase"], "init");
}

#[test]
fn a_method_ends_with_0_whatever_happens() {
    let stage = Stage::new();
    assert_eq!(stage.method(&[INIT, "dance"]).code, Some(0));
    assert_eq!(stage.method(&[PROGRAM]).code, Some(0));
    fs::write(stage.path("/var/log"), "a file in the way").expect("written");
    assert_eq!(stage.method(&[INIT, "start"]).code, Some(0));
    assert_eq!(stage.result_of("init")["failed"][0][0], "tool-logs");
    assert_eq!(stage.by_hand(&[PROGRAM, "status"]).code, Some(1));
    assert_eq!(stage.by_hand(&[PROGRAM, "init", "--outside-smf", "--outside-smf"]).code, Some(1));
    // No place for the state either.
    fs::remove_dir_all(stage.path("/etc/svc/volatile")).expect("removed");
    fs::write(stage.path("/etc/svc/volatile"), "").expect("written");
    assert_eq!(stage.method(&[INIT, "start"]).code, Some(0));
}

#[test]
fn a_phase_that_is_killed_does_not_fail_its_service() {
    let stage = Stage::new();
    let (count, settings) = (stage.path("/count"), stage.settings());
    assert_eq!(stage.method_with(&[INIT, "start"], &settings.clone().count(&count)).code, Some(0));
    let changes = Counts::read(&count).expect("counted").changes;
    assert!(changes > 15, "{changes} changes");
    let mut died = 0;
    for change in 1..=changes {
        let stage = Stage::new();
        // Counted together, so that only one of the two processes is killed.
        let settings = stage.settings().count(stage.path("/count"));
        let ended = stage.method_with(&[INIT, "start"], &settings.kill_at(change, Moment::Before));
        // It was the watching process itself, or the phase.
        assert!([None, Some(0)].contains(&ended.code), "at change {change}: {ended:?}");
        if ended.code == Some(0) && !stage.result_of("init")["failed"].as_array().expect("a list").is_empty()
        {
            died += 1;
            let console = fs::read_to_string(stage.path("/dev/console")).expect("a console");
            assert!(console.contains("ERROR: the phase failed: it was ended by signal 9"), "{console}");
        }
        assert_eq!(stage.method(&[INIT, "start"]).code, Some(0));
        assert_eq!(stage.result_of("init")["failed"], json!([]), "after change {change}");
        assert!(stage.path("/var/log/fw/fwadm.log").is_file());
    }
    assert!(died >= 8, "the phase died {died} times");
}

#[test]
fn a_storage_phase_that_dies_leaves_rescue_mode() {
    let stage = Stage::new();
    // The first changes are those of the process that watches. Then the phase begins.
    let (count, settings) = (stage.path("/count"), stage.settings());
    let settings = settings.count(&count);
    let survivors = (1..30).find_map(|change| {
        fs::remove_dir_all(stage.path("/etc/svc/volatile")).expect("removed");
        fs::create_dir(stage.path("/etc/svc/volatile")).expect("made");
        let _ = fs::remove_file(&count);
        let ended = stage
            .method_with(&["/lib/svc/method/fs-joyent"], &settings.clone().kill_at(change, Moment::Before));
        ended.code.filter(|_| stage.path("/etc/svc/volatile/guest-init.failed").exists())
    });
    assert_eq!(survivors, Some(0));
    let rescue = stage.state()["rescue"].as_str().expect("rescue mode").to_owned();
    assert!(rescue.starts_with("the storage phase failed: it was ended by signal 9"), "{rescue}");
    let note = fs::read_to_string(stage.path("/etc/svc/volatile/guest-init.failed")).expect("a note");
    assert_eq!(note.trim_end(), rescue);
}

#[test]
fn hazard_27_a_second_run_waits_and_then_leaves() {
    let stage = Stage::new();
    let folder = stage.path("/etc/svc/volatile/guest-init");
    fs::create_dir_all(&folder).expect("a folder");
    let lock = fs::File::create(folder.join("init.lock")).expect("a file");
    fcntl_lock(&lock, FlockOperation::LockExclusive).expect("locked");
    let ended = stage.method(&[INIT, "start"]);
    assert_eq!(ended.code, Some(0));
    assert!(
        ended.stderr.contains("another process has /etc/svc/volatile/guest-init/init.lock locked"),
        "{ended:?}"
    );
    assert!(!stage.path("/var/log/vm").exists(), "nothing was done");
    drop(lock);
    assert_eq!(stage.method(&[INIT, "start"]).code, Some(0));
    assert!(stage.path("/var/log/vm").exists());
}

#[test]
fn a_plan_changes_nothing() {
    let stage = Stage::new();
    let before = stage.files();
    let traced = stage.path("/trace");
    let plan = stage.method_with(&[INIT, "--plan"], &stage.settings().trace(&traced));
    assert_eq!(plan.code, Some(0), "{plan:?}");
    assert_eq!(
        plan.stdout,
        "guest-init init: tool-logs: vmadm and fwadm want /var/log/vm/logs, /var/log/fw/logs, /var/log/vm/vmadm.log, \
         /var/log/fw/fwadm.log\n"
    );
    let changes: Vec<String> = trace::read(&traced)
        .expect("a trace")
        .into_iter()
        .filter(|call| call.change.is_some() && !(call.name == "write" && call.arguments.starts_with("1, ")))
        .map(|call| format!("{}({})", call.name, call.arguments))
        .collect();
    assert_eq!(changes, Vec::<String>::new());
    fs::remove_file(traced).expect("removed");
    assert_eq!(stage.files(), before);
}

#[test]
fn the_host_is_told() {
    let stage = Stage::of(machine(&json!({})));
    assert_eq!(stage.method(&[INIT, "start"]).code, Some(0));
    let status = stage.customer_key("guest-init:status").expect("told");
    let status: Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!((&status["phase"], &status["result"]), (&json!("init"), &json!("ok")));
}

#[test]
fn hazard_26_scripts_run_from_a_whole_private_file_and_never_fail_the_service() {
    // The program itself is the only interpreter here: it says that it knows no phase of the script's name.
    let script = format!("#!{PROGRAM}\n");
    let mut machine = machine(&json!({"user-script": script}));
    machine["internal_metadata"] = json!({"operator-script": format!("#!{PROGRAM} status\n")});
    let stage = Stage::of(machine);
    let ended = stage.method(&[USERSCRIPT, "start"]);
    assert_eq!(ended.code, Some(0));
    let said: Vec<&str> = ended.stdout.lines().collect();
    let [operators, users] = said[..] else { panic!("{ended:?}") };
    assert!(
        operators.starts_with("guest-init: status does not know '/var/svc/mdata-operator-script'"),
        "{ended:?}"
    );
    assert!(users.starts_with("guest-init: '/var/svc/mdata-user-script' is no phase"), "{ended:?}");
    assert!(ended.stderr.contains("it ended with status 0"), "{ended:?}");
    let path = stage.path("/var/svc/mdata-user-script");
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o7777, 0o700);
    assert_eq!(fs::read_to_string(&path).expect("text"), script);
    assert_eq!(
        fs::read_dir(stage.path("/var/svc")).expect("a folder").count(),
        2,
        "nothing is left beside them"
    );
    assert_eq!(stage.result_of("userscript")["changed"], json!(["operator-script", "user-script"]));
}

#[test]
fn hazard_26_a_script_that_fails_is_told() {
    let stage = Stage::of(machine(&json!({"user-script": "#!/nowhere/sh\n"})));
    assert_eq!(stage.method(&[USERSCRIPT, "start"]).code, Some(0));
    let failed = stage.result_of("userscript")["failed"].clone();
    assert_eq!(failed[0][0], "user-script");
    let status = stage.customer_key("guest-init:status").expect("told");
    assert!(status.contains("cannot run /var/svc/mdata-user-script"), "{status}");
}

#[test]
fn hazard_25_smbios_does_not_call_itself() {
    let stage = Stage::new();
    for path in ["/usr/sbin/smbios", "/system/usr/bin/smbios"] {
        let path = stage.path(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        symlink(PROGRAM, path).expect("linked");
    }
    let ended = stage.by_hand(&["/system/usr/bin/smbios", "-t", "1"]);
    assert_eq!(ended.code, Some(1));
    assert_eq!(ended.stderr, "smbios: /usr/sbin/smbios is not the platform's program\n");
}

#[test]
fn the_log_survives_on_the_pool_and_only_there() {
    let stage = Stage::new();
    let note = |state: Value, mounts: &str| {
        let folder = stage.path("/etc/svc/volatile/guest-init");
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("state.json"), state.to_string()).expect("written");
        fs::write(stage.path("/etc/mnttab"), mounts).expect("written");
    };
    let (pool, mounted) = (json!({"name": "zones", "guid": 7}), "zones/var\t/var\tzfs\trw\t1\n");
    let log = stage.path("/var/log/guest-init.log");
    for (state, mounts) in [
        (json!({}), mounted),
        (json!({"pool": pool, "rescue": "no disk"}), mounted),
        (json!({"pool": pool}), "/devices/ramdisk:a\t/\tufs\trw\t1\n"),
    ] {
        note(state, mounts);
        assert_eq!(stage.method(&[INIT, "start"]).code, Some(0));
        assert!(!log.exists());
    }
    note(json!({"pool": pool}), mounted);
    let ended = stage.method(&[INIT, "start"]);
    let kept = fs::read_to_string(&log).expect("a log");
    let (date, lines) = kept.split_once('\n').expect("lines");
    assert!(date.starts_with("--- 20"), "{kept}");
    assert_eq!(lines, ended.stderr);
    assert!(lines.contains("guest-init init: tool-logs: nothing to do\n"), "{kept}");
}

#[test]
fn hazard_18_a_silent_host_costs_little_time_and_no_failure() {
    let stage = Stage::new();
    // A port on which nobody ever answers.
    fs::write(stage.path("/dev/term/b"), "").expect("a file");
    let ended = stage.method(&[INIT, "start"]);
    assert_eq!(ended.code, Some(0));
    assert_eq!(stage.result_of("init")["failed"], json!([]));
    assert!(ended.stderr.contains("the host was not told how it went"), "{ended:?}");
}

/// The process that keeps the time, which ends with the test.
struct Keeper(Pid);

impl Drop for Keeper {
    fn drop(&mut self) {
        // It may be gone.
        let _ = kill_process(self.0, Signal::KILL);
    }
}

/// An hour in seconds.
const HOUR: i64 = 3600;

/// The sockets of time servers at these addresses, unless this machine does not give their port.
fn time_servers(addresses: &[&str]) -> Option<Vec<UdpSocket>> {
    let sockets: Option<Vec<_>> =
        addresses.iter().map(|address| UdpSocket::bind((*address, 123)).ok()).collect();
    if sockets.is_none() {
        assert!(std::env::var_os("KILN_REQUIRE_TOOLS").is_none(), "cannot serve time at port 123");
        eprintln!("SKIPPED: cannot serve time at port 123");
    }
    sockets
}

/// Waits for a question and answers that the time is so many seconds later than it is.
fn answer_one(server: &UdpSocket, ahead: i64) {
    let mut question = [0; 512];
    let (length, client) = server.recv_from(&mut question).expect("a question");
    assert_eq!((length, question[0]), (48, 0x23));
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs() as i64;
    let seconds = (seconds + ahead + 2_208_988_800) as u32;
    let mut answer = [0; 48];
    answer[..2].copy_from_slice(&[0x24, 2]);
    answer[24..32].copy_from_slice(&question[40..48]);
    for at in [32, 40] {
        answer[at..at + 4].copy_from_slice(&seconds.to_be_bytes());
    }
    server.send_to(&answer, client).expect("answered");
}

/// By how many seconds a guest sets its clock whose servers are so many seconds ahead, asked in this order.
fn clock_set_by(servers: Vec<(UdpSocket, i64)>) -> i64 {
    let stage = Stage::new();
    fs::create_dir_all(stage.path("/etc/inet")).expect("a folder");
    let line = |(socket, _): &(UdpSocket, i64)| {
        format!("server {} iburst\n", socket.local_addr().expect("an address").ip())
    };
    let config: String = servers.iter().map(line).collect();
    fs::write(stage.path("/etc/inet/ntp.conf"), config).expect("written");
    let file = stage.path("/clock");
    clock::set(&file, 0).expect("a clock");
    let settings = stage.settings().time_scale(1).clock(&file);
    let mut method = stage.command(&["/lib/svc/method/ntp", "start"], &settings);
    method.env("SMF_FMRI", "svc:/network/ntp:default").stdout(Stdio::null()).stderr(Stdio::null());
    assert!(method.status().expect("it runs").success(), "the method leaves a process and ends");
    let answering: Vec<_> = servers
        .into_iter()
        .map(|(socket, ahead)| thread::spawn(move || answer_one(&socket, ahead)))
        .collect();
    for server in answering {
        server.join().expect("it was asked");
    }
    let lock =
        fs::File::open(stage.path("/etc/svc/volatile/guest-init/ntp.lock")).expect("it holds its lock");
    let held = fcntl_getlk(&lock, &Flock::from(FlockType::WriteLock)).expect("asked").expect("held");
    let _keeper = Keeper(held.pid.expect("a process"));
    let offset = (0..1000).find_map(|_| {
        thread::sleep(Duration::from_millis(10));
        Some(clock::read(&file).expect("a clock").offset).filter(|offset| *offset != 0)
    });
    offset.expect("the clock was set") / 1_000_000_000
}

/// Whole seconds were told, and answers may have been on their way for two.
fn is_about(seconds: i64, expected: i64) -> bool {
    (expected - 3..=expected).contains(&seconds)
}

// One test, since the port is there once.
#[test]
fn an_old_platform_gets_its_time_from_us() {
    let Some(mut one) = time_servers(&["127.0.0.1"]) else { return };
    let set = clock_set_by(vec![(one.remove(0), HOUR)]);
    assert!(is_about(set, HOUR), "{set}");

    // Two agree, and one of three lies: more than the others, and about the smallest error.
    for liar in 0..3 {
        let Some(sockets) = time_servers(&["127.0.0.1", "127.0.0.2", "127.0.0.3"]) else { return };
        let ahead = |index| if index == liar { 400 * 24 * HOUR } else { -HOUR };
        let set =
            clock_set_by(sockets.into_iter().enumerate().map(|(at, socket)| (socket, ahead(at))).collect());
        assert!(is_about(set, -HOUR), "{set} with the liar {liar}");
    }

    // One of two has lost its time, which would leave nobody with a majority if it counted.
    let Some(sockets) = time_servers(&["127.0.0.1", "127.0.0.2"]) else { return };
    let lost = -(SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs() as i64);
    let set = clock_set_by(sockets.into_iter().zip([lost, 2 * HOUR]).collect());
    assert!(is_about(set, 2 * HOUR), "{set}");
}
