//! The workflow for a CI service, which nobody can run here: it is well-formed, and the commands in it exist.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use kiln_e2e::Said;
use kiln_harness::{cloud_init, tools};
use kiln_simulator::Era;
use serde_json::Value;

/// Reads YAML by the rules that CI services follow, and writes it as JSON.
const CONVERT: &str = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)";

/// The workflow, or `None` after a loud skip.
fn workflow() -> Option<Value> {
    let path: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "../../.github/workflows/real-platforms.yml"].iter().collect();
    let mut python = cloud_init::python()?;
    let file = fs::File::open(&path).expect("the workflow is there");
    let said = Said::from(&python.args(["-c", CONVERT]).stdin(file).output().expect("Python starts"));
    assert_eq!(said.status, 0, "{}", said.stderr);
    Some(serde_json::from_str(&said.stdout).expect("JSON"))
}

/// Every step of every job.
fn steps(workflow: &Value) -> Vec<&Value> {
    let jobs = workflow["jobs"].as_object().expect("there are jobs");
    jobs.values().flat_map(|job| job["steps"].as_array().expect("a job has steps")).collect()
}

/// The lines of a script, without comments, those that go on joined.
fn lines(script: &str) -> Vec<String> {
    let joined = script.replace("\\\n", " ");
    joined.lines().map(|line| line.trim().to_owned()).filter(|line| !line.starts_with('#')).collect()
}

#[test]
fn every_job_has_a_machine_a_limit_and_steps_that_do_one_thing() {
    let Some(workflow) = workflow() else { return };
    // YAML 1.1, which these services read, takes the key `on` for the truth value.
    assert!(workflow["true"]["workflow_dispatch"]["inputs"]["platforms"].is_object(), "{workflow:#}");
    let jobs = workflow["jobs"].as_object().unwrap();
    assert_eq!(jobs.keys().map(String::as_str).collect::<Vec<_>>(), ["first-boot", "guest-programs"]);
    for (name, job) in jobs {
        assert!(job["runs-on"].is_string() && job["timeout-minutes"].is_u64(), "{name}");
    }
    for step in steps(&workflow) {
        assert!(step["run"].is_string() != step["uses"].is_string(), "{step:#}");
    }
}

#[test]
fn there_is_a_platform_of_each_era() {
    let Some(workflow) = workflow() else { return };
    let expression = workflow["jobs"]["first-boot"]["strategy"]["matrix"]["platform"].as_str().unwrap();
    let literal = expression.split('\'').nth(1).expect("a literal in single quotes");
    let platforms: Vec<BTreeMap<String, String>> = serde_json::from_str(literal).expect("a JSON list");
    let stamps: Vec<&str> = platforms.iter().map(|platform| platform["stamp"].as_str()).collect();
    // Of the first three eras images are published, so these are the very platforms; of the last, the newest there is.
    assert_eq!(stamps[..3], Era::ALL[..3]);
    let year = |stamp: &str| stamp.get(..4).unwrap_or_default().to_owned();
    let (newest, dated) = stamps.split_last().unwrap();
    assert_eq!(*newest, "latest");
    assert_eq!(
        dated.iter().map(|stamp| year(stamp)).collect::<Vec<_>>(),
        Era::ALL[..5].iter().map(|stamp| year(stamp)).collect::<Vec<_>>()
    );
    for platform in &platforms {
        let address = &platform["address"];
        let path = address.strip_prefix("https://").unwrap_or_else(|| panic!("{address}"));
        // The update server has names of its own.
        if let Some(tarball) = path.strip_suffix(".tgz") {
            assert!(tarball.ends_with(&platform["stamp"]), "{platform:?}");
        }
    }
}

/// What is tested on the shim is to be tested on illumos too.
#[test]
fn the_unit_tests_of_both_guest_programs_go_to_illumos() {
    let Some(workflow) = workflow() else { return };
    let scripts = steps(&workflow).into_iter().filter_map(|step| step["run"].as_str());
    let commands: Vec<String> =
        scripts.flat_map(lines).filter(|line| line.starts_with("cargo test ")).collect();
    let [command] = commands.as_slice() else { panic!("{commands:?}") };
    for words in [
        "--no-run --target x86_64-unknown-illumos ",
        " --package guest-mdata ",
        " --package guest-init ",
        " --lib ",
    ] {
        assert!(command.contains(words), "{words:?}: {command}");
    }
}

#[test]
fn every_script_is_one_for_the_shell() {
    let Some(workflow) = workflow() else { return };
    let of_step =
        |step: &&Value| step["run"].as_str().or_else(|| step["with"]["run"].as_str()).map(str::to_owned);
    let scripts: Vec<String> = steps(&workflow).iter().filter_map(of_step).collect();
    assert!(scripts.len() >= 7, "{scripts:?}");
    for script in scripts {
        let checked = Command::new("bash").args(["-n", "-c", &script]).output().expect("bash starts");
        assert!(checked.status.success(), "{script}\n{}", String::from_utf8_lossy(&checked.stderr));
    }
}

#[test]
fn every_command_of_ours_exists_with_its_options() {
    let Some(workflow) = workflow() else { return };
    let Some(xtask) = tools::xtask() else { return };
    let mut commands = Vec::new();
    for step in steps(&workflow) {
        for line in step["run"].as_str().map(lines).unwrap_or_default() {
            let Some(words) = line.strip_prefix("cargo xtask ") else {
                assert!(!line.contains("cargo xtask"), "hidden from this test: {line}");
                continue;
            };
            let mut words = words.split_whitespace();
            let name = words.next().expect("a command has a name").to_owned();
            let said = Said::from(&Command::new(&xtask).args([&name, "--help"]).output().expect("it starts"));
            assert_eq!(said.status, 0, "{line}: {}", said.stderr);
            for option in words.filter(|word| word.starts_with("--")) {
                let is_listed = said.stdout.lines().any(|line| {
                    let mut words = line.split_whitespace();
                    words.next() == Some(option) || words.next() == Some(option)
                });
                assert!(is_listed, "{option} of: {line}");
            }
            commands.push(name);
        }
    }
    assert_eq!(commands, ["boot-real", "guest"]);
}
