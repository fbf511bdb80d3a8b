//! A method for tests of the simulator: runs the commands of a file, one a line, and ends with the first status that is not 0.
//!
//! The file is `/etc/scripted/NAME`, NAME being what the program is called. A line is words separated by blanks; `exit N` ends
//! it, `write FILE WORDS...` writes a file, `- COMMAND` ignores the command's status, `& COMMAND` does not wait for its end;
//! in the end all those are waited for, and one that fails is a failure.

use std::process::{Child, Command, ExitCode};
use std::{env, fs};

fn main() -> ExitCode {
    let path = env::args().next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    let script = fs::read_to_string(format!("/etc/scripted/{name}")).unwrap_or_default();
    let mut running: Vec<Child> = Vec::new();
    for line in script.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] => {}
            ["exit", status] => return ExitCode::from(status.parse::<u8>().unwrap_or(1)),
            ["write", file, text @ ..] => {
                if let Err(error) = fs::write(file, text.join(" ") + "\n") {
                    eprintln!("{file}: {error}");
                    return ExitCode::FAILURE;
                }
            }
            ["-", command, arguments @ ..] => {
                run(command, arguments);
            }
            ["&", command, arguments @ ..] => match prepare(command, arguments).spawn() {
                Ok(child) => running.push(child),
                Err(error) => {
                    eprintln!("{command}: {error}");
                    return ExitCode::FAILURE;
                }
            },
            [command, arguments @ ..] => {
                let status = run(command, arguments);
                if status != 0 {
                    return ExitCode::from(status);
                }
            }
        }
    }
    // Each is waited for, whatever the others did.
    let mut result = ExitCode::SUCCESS;
    for mut child in running {
        if !child.wait().is_ok_and(|status| status.success()) {
            result = ExitCode::FAILURE;
        }
    }
    result
}

fn prepare(command: &str, arguments: &[&str]) -> Command {
    println!("+ {command} {}", arguments.join(" "));
    let mut prepared = Command::new(command);
    prepared.args(arguments);
    prepared
}

fn run(command: &str, arguments: &[&str]) -> u8 {
    match prepare(command, arguments).status() {
        Ok(status) => status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(255),
        Err(error) => {
            eprintln!("{command}: {error}");
            127
        }
    }
}
