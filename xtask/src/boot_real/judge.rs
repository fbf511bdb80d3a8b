//! What a command in the guest is expected to say, and whether it did.

use super::exec::Said;

/// How much of an answer a report shows, in characters.
const LONGEST: usize = 4000;

/// What is expected of a command's standard output. Blanks and tabs count as one blank each, and those around a line not
/// at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// These lines, in whatever order, and no others.
    Lines(Vec<String>),
    /// This text, somewhere in a line.
    Has(String),
    /// This text, nowhere.
    Lacks(String),
    /// This many lines with this text in them.
    Times(usize, String),
    /// A number that is not 0.
    Number,
}

impl Expected {
    /// One line and nothing else.
    pub fn line(text: impl Into<String>) -> Self {
        Self::Lines(vec![text.into()])
    }

    /// What is wrong with an answer, if anything is.
    fn problem(&self, lines: &[String]) -> Option<String> {
        let with = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
        match self {
            Self::Lines(expected) => {
                let [mut expected, mut found] = [expected.clone(), lines.to_vec()];
                expected.sort();
                found.sort();
                (expected != found).then(|| format!("expected exactly {}", quoted(&expected)))
            }
            Self::Has(text) => (with(text) == 0).then(|| format!("expected '{text}' in it")),
            Self::Lacks(text) => (with(text) > 0).then(|| format!("'{text}' must not be in it")),
            Self::Times(times, text) => (with(text) != *times)
                .then(|| format!("expected {times} lines with '{text}', found {}", with(text))),
            Self::Number => {
                let is_number = matches!(lines, [one] if one.parse::<u64>().is_ok_and(|number| number > 0));
                (!is_number).then(|| "expected a number".to_owned())
            }
        }
    }
}

/// A promise, and the command whose answer shows whether it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What it is about, in one word or two.
    pub name: &'static str,
    /// What was promised.
    pub promise: &'static str,
    /// The command, which must succeed.
    pub command: String,
    /// What it must say.
    pub expected: Vec<Expected>,
    /// Whether it must say the same at each boot.
    pub lasts: bool,
}

/// What became of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What it was about.
    pub name: String,
    /// What was promised.
    pub promise: String,
    /// The command.
    pub command: String,
    /// What it said, normalised; at most 4000 characters.
    pub found: String,
    /// What was wrong; nothing if the promise was kept.
    pub problems: Vec<String>,
}

impl Outcome {
    /// Of a promise whose keeping the run itself shows, without a command.
    pub fn seen(name: &str, promise: &str, found: &str, problem: Option<String>) -> Self {
        Self {
            name: name.to_owned(),
            promise: promise.to_owned(),
            command: String::new(),
            found: shortened(found),
            problems: problem.into_iter().collect(),
        }
    }

    /// Whether the promise was kept.
    pub fn held(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Judges a command's answer. `earlier` is what it said at the boot before, for what lasts.
pub fn judge(check: &Check, said: &Said, earlier: Option<&str>) -> Outcome {
    let lines: Vec<String> = said
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|line| !line.is_empty())
        .collect();
    let mut problems: Vec<String> =
        check.expected.iter().filter_map(|expected| expected.problem(&lines)).collect();
    if said.status != Some(0) {
        let status = said.status.map_or_else(|| "a signal".to_owned(), |status| format!("status {status}"));
        problems.insert(0, format!("the command ended with {status}: {}", shortened(said.stderr.trim())));
    }
    let found = shortened(&lines.join("\n"));
    if let Some(earlier) = earlier.filter(|earlier| check.lasts && **earlier != found) {
        problems.push(format!("the boot before it was {}", quoted(&[earlier.to_owned()])));
    }
    Outcome {
        name: check.name.to_owned(),
        promise: check.promise.to_owned(),
        command: check.command.clone(),
        found,
        problems,
    }
}

fn quoted(texts: &[String]) -> String {
    texts.iter().map(|text| format!("'{text}'")).collect::<Vec<_>>().join(", ")
}

fn shortened(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(stdout: &str) -> Said {
        Said { status: Some(0), stdout: stdout.to_owned(), stderr: String::new() }
    }

    fn check(expected: &[Expected], lasts: bool) -> Check {
        Check {
            name: "pool",
            promise: "it is there",
            command: "zpool".into(),
            expected: expected.to_vec(),
            lasts,
        }
    }

    fn problems(expected: Expected, stdout: &str) -> Vec<String> {
        judge(&check(&[expected], false), &said(stdout), None).problems
    }

    #[test]
    fn each_expectation_is_met_or_named() {
        let lines = Expected::Lines(vec!["zones ONLINE".into(), "a b".into()]);
        assert!(problems(lines.clone(), "  a   b\nzones\tONLINE\n").is_empty());
        assert_eq!(problems(lines, "zones\tONLINE\n"), ["expected exactly 'a b', 'zones ONLINE'"]);
        assert!(problems(Expected::Has("inet 10.0.2.15".into()), "\tinet  10.0.2.15 netmask\n").is_empty());
        assert_eq!(problems(Expected::Has("up".into()), "e1000g0:down\n"), ["expected 'up' in it"]);
        assert!(problems(Expected::Lacks("maintenance".into()), "online\n").is_empty());
        let lacks = problems(Expected::Lacks("maintenance".into()), "maintenance svc:/x\n");
        assert_eq!(lacks, ["'maintenance' must not be in it"]);
        assert!(problems(Expected::Times(2, "ran".into()), "ran\nran\n").is_empty());
        assert_eq!(
            problems(Expected::Times(2, "ran".into()), "ran\n"),
            ["expected 2 lines with 'ran', found 1"]
        );
        assert!(problems(Expected::Number, " 18446744073709551615\n").is_empty());
        for text in ["", "0", "-", "1\n2"] {
            assert_eq!(problems(Expected::Number, text), ["expected a number"], "{text}");
        }
    }

    #[test]
    fn a_command_that_fails_keeps_no_promise() {
        let failed = Said { status: Some(1), stdout: "x".into(), stderr: "no such pool\n".into() };
        let outcome = judge(&check(&[Expected::Has("x".into())], false), &failed, None);
        assert_eq!(outcome.problems, ["the command ended with status 1: no such pool"]);
        assert!(!outcome.held());
    }

    #[test]
    fn what_lasts_is_the_same_at_the_next_boot() {
        let lasting = check(&[Expected::Number], true);
        assert!(judge(&lasting, &said("17\n"), Some("17")).held());
        assert_eq!(judge(&lasting, &said("18\n"), Some("17")).problems, ["the boot before it was '17'"]);
        assert!(judge(&check(&[Expected::Number], false), &said("18\n"), Some("17")).held());
    }
}
