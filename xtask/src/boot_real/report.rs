//! The report of a run, for people as `report.md` and for programs as `report.json`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::console::Line;
use super::judge::Outcome;
use super::visit::Boot;

/// What a run came to.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// What was booted, in words.
    pub what: String,
    /// The platform's stamp.
    pub stamp: String,
    /// The machine, in words.
    pub machine: String,
    /// The boots, in their order.
    pub boots: Vec<Boot>,
    /// Why the run stopped before its end, if it did.
    pub stopped: Option<String>,
    /// Whether somebody interrupted it.
    pub interrupted: bool,
    /// Every line of the console.
    pub console: Vec<Line>,
}

impl Report {
    /// Whether the run came to its end and every promise was kept.
    pub fn held(&self) -> bool {
        self.stopped.is_none() && !self.boots.is_empty() && self.broken().count() == 0
    }

    fn broken(&self) -> impl Iterator<Item = (u32, &Outcome)> {
        self.boots.iter().flat_map(|boot| {
            boot.outcomes.iter().filter(|outcome| !outcome.held()).map(|outcome| (boot.number, outcome))
        })
    }

    /// The verdict in a sentence.
    pub fn verdict(&self) -> String {
        let broken = self.broken().count();
        let checks: usize = self.boots.iter().map(|boot| boot.outcomes.len()).sum();
        match (&self.stopped, broken) {
            (Some(reason), _) => {
                let last = self.console.last().map_or_else(
                    || "The console was silent.".to_owned(),
                    |line| format!("The last line of the console: {}", line.text),
                );
                format!("Stopped: {reason}. {last}")
            }
            (None, 0) => format!("Every promise was kept ({checks} checks in {} boots).", self.boots.len()),
            (None, _) => format!("{broken} of {checks} checks did not hold."),
        }
    }

    /// Writes both files into `folder`.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let json = format!("{:#}\n", self.json());
        for (name, text) in [("report.md", self.markdown()), ("report.json", json)] {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    fn json(&self) -> Value {
        let check = |outcome: &Outcome| {
            json!({
                "name": outcome.name, "promise": outcome.promise, "command": outcome.command,
                "found": outcome.found, "held": outcome.held(), "problems": outcome.problems,
            })
        };
        let boot = |boot: &Boot| {
            json!({
                "number": boot.number,
                "status": boot.status.as_ref().map(|status| &status.text),
                "checks": boot.outcomes.iter().map(check).collect::<Vec<_>>(),
            })
        };
        let line = |line: &Line| json!({"boot": line.boot, "tenths": line.tenths, "text": line.text});
        json!({
            "held": self.held(), "verdict": self.verdict(), "stopped": self.stopped, "interrupted": self.interrupted,
            "what": self.what, "stamp": self.stamp, "machine": self.machine,
            "boots": self.boots.iter().map(boot).collect::<Vec<_>>(),
            "console": self.console.iter().map(line).collect::<Vec<_>>(),
        })
    }

    fn markdown(&self) -> String {
        let mut text = String::new();
        let title = if self.held() { "held" } else { "did not hold" };
        // Writing into a string succeeds, here and below.
        let _ = write!(
            text,
            "# First boot of {}: {title}\n\n{}\n\n* booted: {}\n* machine: {}\n",
            self.stamp,
            cell(&self.verdict()),
            self.what,
            self.machine
        );
        for boot in &self.boots {
            let _ = write!(text, "\n## Boot {}\n\n", boot.number);
            let status = boot.status.as_ref().map_or("none came", |status| status.text.as_str());
            let _ = write!(
                text,
                "Status: {}\n\n| | check | promise | command |\n|---|---|---|---|\n",
                cell(status)
            );
            for outcome in &boot.outcomes {
                let word = if outcome.held() { "holds" } else { "**broken**" };
                let command =
                    if outcome.command.is_empty() { String::new() } else { format!("`{}`", outcome.command) };
                let _ = writeln!(text, "| {word} | {} | {} | {command} |", outcome.name, outcome.promise);
            }
            for outcome in boot.outcomes.iter().filter(|outcome| !outcome.held()) {
                let _ = write!(text, "\n### {}\n\n", outcome.name);
                for problem in &outcome.problems {
                    let _ = writeln!(text, "* {}", cell(problem));
                }
                if !outcome.found.is_empty() {
                    let _ = write!(text, "\nFound:\n\n{}", indented(&outcome.found));
                }
            }
        }
        text.push_str("\n## Console\n\n");
        for line in &self.console {
            let seconds = format!("{}.{}", line.tenths / 10, line.tenths % 10);
            let _ = writeln!(text, "    {} {seconds:>7}  {}", line.boot, line.text);
        }
        text
    }
}

/// Text for one line of Markdown: what comes from outside begins nothing there.
fn cell(text: &str) -> String {
    let mut safe = String::new();
    for character in text.chars() {
        match character {
            '\n' => safe.push(' '),
            '\\' | '|' | '`' | '*' | '_' | '<' | '[' | '#' => safe.extend(['\\', character]),
            other => safe.push(other),
        }
    }
    safe
}

/// Text as a block of code.
fn indented(text: &str) -> String {
    text.lines().fold(String::new(), |block, line| block + "    " + line + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let outcome = Outcome::seen("login", "the owner logs in", "", None);
        Report {
            stamp: "20141030T081701Z".to_owned(),
            what: "a platform".to_owned(),
            machine: "QEMU".to_owned(),
            boots: vec![Boot { number: 1, status: None, outcomes: vec![outcome] }],
            console: vec![Line { boot: 1, tenths: 123, text: "SunOS Release 5.11".to_owned() }],
            ..Report::default()
        }
    }

    #[test]
    fn it_holds_only_when_everything_did_and_the_run_came_to_its_end() {
        assert!(report().held());
        assert!(!Report { boots: Vec::new(), ..report() }.held(), "nothing was looked at");
        let stopped = Report { stopped: Some("no status came".to_owned()), ..report() };
        assert!(!stopped.held());
        assert_eq!(
            stopped.verdict(),
            "Stopped: no status came. The last line of the console: SunOS Release 5.11"
        );
        let mut broken = report();
        broken.boots[0].outcomes.push(Outcome::seen("pool", "one", "a|b", Some("two\npools".to_owned())));
        assert!(!broken.held());
        assert_eq!(broken.verdict(), "1 of 2 checks did not hold.");
        let text = broken.markdown();
        assert!(text.contains("| **broken** | pool | one |") && text.contains("* two pools\n"), "{text}");
        assert!(text.contains("    1    12.3  SunOS Release 5.11\n"), "{text}");
    }

    #[test]
    fn programs_read_the_same() {
        let folder = tempfile::tempdir().unwrap();
        report().write(folder.path()).unwrap();
        let json: Value =
            serde_json::from_slice(&fs::read(folder.path().join("report.json")).unwrap()).unwrap();
        assert_eq!(json["held"], true);
        assert_eq!(json["boots"][0]["checks"][0]["name"], "login");
        assert_eq!(json["console"][0]["text"], "SunOS Release 5.11");
        assert_eq!(json["stopped"], Value::Null);
    }
}
