//! One boot: waiting for the guest's status, logging in, and asking whether its promises are kept.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::judge::{Check, Outcome, judge};
use super::metadata::Told;
use super::patience::{Interrupted, Wait};
use super::shell::Shell;
use super::status::{KEY, Status};

/// How often the guest's status is asked for, and a login tried.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a guest whose boot is over may take to let its owner in.
const LOGIN_LIMIT: Duration = Duration::from_mins(5);

/// How long a command in the guest may take.
const COMMAND_LIMIT: Duration = Duration::from_mins(1);

/// What became of a boot.
#[derive(Debug, Clone, Default)]
pub struct Boot {
    /// Which it was, from 1.
    pub number: u32,
    /// The status that the guest put last.
    pub status: Option<Status>,
    /// The checks, in their order.
    pub outcomes: Vec<Outcome>,
}

/// The guest from outside.
pub struct Visit<'a> {
    /// What it tells.
    pub told: &'a mut dyn Told,
    /// Where commands are run.
    pub shell: &'a mut dyn Shell,
    /// Why its machine runs no more, if it does not.
    pub ended: &'a mut dyn FnMut() -> Result<Option<String>>,
    /// Where it is said what goes on.
    pub progress: &'a mut dyn FnMut(&str),
}

impl Visit<'_> {
    /// Follows a boot to its end and makes its checks. What was found until then is in `boot` when this fails.
    ///
    /// # Errors
    /// When the boot does not come to its end, nobody can log in, or somebody interrupts.
    pub fn boot(
        &mut self,
        boot: &mut Boot,
        checks: &[Check],
        earlier: Option<&Boot>,
        wait: &Wait,
    ) -> Result<()> {
        self.await_status(boot, wait)?;
        self.await_login(boot, &wait.at_most(LOGIN_LIMIT))?;
        for check in checks {
            let said = self.shell.run(&check.command, &wait.at_most(COMMAND_LIMIT));
            let before = earlier.and_then(|earlier| {
                earlier.outcomes.iter().find(|outcome| outcome.name == check.name && outcome.held())
            });
            let outcome = match said {
                Ok(said) => judge(check, &said, before.map(|before| before.found.as_str())),
                Err(error) if error.is::<Interrupted>() => return Err(error),
                Err(error) => {
                    self.still_runs()?;
                    let over = || format!("boot {}: its checks did not come to their end", boot.number);
                    wait.check().with_context(over)?;
                    let problem = Some(format!("the command could not be run: {error:#}"));
                    let failed = Outcome::seen(check.name, check.promise, "", problem);
                    Outcome { command: check.command.clone(), ..failed }
                }
            };
            self.tell(boot, outcome);
        }
        Ok(())
    }

    fn tell(&mut self, boot: &mut Boot, outcome: Outcome) {
        let word = if outcome.held() { "holds" } else { "DOES NOT HOLD" };
        (self.progress)(&format!("{}: {word}: {}", outcome.name, outcome.promise));
        for problem in &outcome.problems {
            (self.progress)(&format!("    {problem}"));
        }
        boot.outcomes.push(outcome);
    }

    fn still_runs(&mut self) -> Result<()> {
        match (self.ended)()? {
            Some(reason) => bail!("{reason}"),
            None => Ok(()),
        }
    }

    fn await_status(&mut self, boot: &mut Boot, wait: &Wait) -> Result<()> {
        (self.progress)(&format!("boot {}: waiting for {KEY}", boot.number));
        let ended = loop {
            match self.look(boot) {
                Err(error) => break Err(error),
                Ok(()) if boot.status.as_ref().is_some_and(Status::is_last) => break Ok(()),
                Ok(()) => {}
            }
            if let Err(error) = wait.pause(PAUSE) {
                break Err(error);
            }
        };
        ended.with_context(|| match &boot.status {
            None => format!("boot {}: no {KEY} came", boot.number),
            Some(status) => {
                format!("boot {}: it came no further than the phase '{}'", boot.number, status.phase)
            }
        })?;
        let status = boot.status.clone().context("the boot is over by its status")?;
        let problem = (status.result != "ok").then(|| format!("the result is '{}'", status.result));
        self.tell(
            boot,
            Outcome::seen("boot", "every phase of guest-init did its work", &status.text, problem),
        );
        Ok(())
    }

    /// Asks once for the status.
    fn look(&mut self, boot: &mut Boot) -> Result<()> {
        self.still_runs()?;
        let Some(text) = self.told.status()? else { return Ok(()) };
        if boot.status.as_ref().is_none_or(|status| status.text != text) {
            (self.progress)(&format!("{KEY}: {text}"));
            boot.status = Some(Status::parse(&text)?);
        }
        Ok(())
    }

    fn await_login(&mut self, boot: &mut Boot, wait: &Wait) -> Result<()> {
        (self.progress)("logging in");
        let promise = "the owner logs in with the metadata's key";
        loop {
            let trouble = match self.shell.run("exit 0", &wait.at_most(COMMAND_LIMIT)) {
                Ok(said) if said.status == Some(0) => break,
                Ok(said) => anyhow::anyhow!("the shell ended with {:?}", said.status),
                Err(error) => error,
            };
            if trouble.is::<Interrupted>() {
                return Err(trouble);
            }
            self.still_runs()?;
            if let Err(over) = wait.pause(PAUSE) {
                self.tell(boot, Outcome::seen("login", promise, "", Some(format!("{trouble:#}"))));
                return Err(over.context(format!("boot {}: nobody can log in", boot.number)));
            }
        }
        self.tell(boot, Outcome::seen("login", promise, "", None));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::super::exec::Said;
    use super::super::judge::Expected;
    use super::super::patience::Patience;
    use super::*;

    const OK: &str = r#"{"result":"ok","phase":"userscript"}"#;

    /// A guest whose statuses and answers are written down; the last status stays.
    struct Scripted {
        statuses: VecDeque<Option<&'static str>>,
        answers: VecDeque<Result<&'static str, &'static str>>,
    }

    impl Told for VecDeque<Option<&'static str>> {
        fn status(&mut self) -> Result<Option<String>> {
            let status = if self.len() > 1 { self.pop_front() } else { self.front().copied() };
            Ok(status.flatten().map(str::to_owned))
        }

        fn forget(&mut self) -> Result<()> {
            self.clear();
            Ok(())
        }
    }

    impl Shell for VecDeque<Result<&'static str, &'static str>> {
        fn run(&mut self, _: &str, _: &Wait) -> Result<Said> {
            match self.pop_front().expect("one more command than was expected") {
                Ok(text) => Ok(Said { status: Some(0), stdout: text.to_owned(), stderr: String::new() }),
                Err(error) => Err(anyhow::anyhow!("{error}")),
            }
        }
    }

    fn visit(
        guest: &mut Scripted,
        earlier: Option<&Boot>,
        limit: Duration,
        ended: Option<&str>,
    ) -> (Result<()>, Boot) {
        let check = Check {
            name: "guid",
            promise: "it stays",
            command: "/usr/sbin/zpool".to_owned(),
            expected: vec![Expected::Number],
            lasts: true,
        };
        let mut boot = Boot { number: 1, ..Boot::default() };
        let result = Visit {
            told: &mut guest.statuses,
            shell: &mut guest.answers,
            ended: &mut || Ok(ended.map(str::to_owned)),
            progress: &mut |_| {},
        }
        .boot(&mut boot, &[check], earlier, &Patience::default().wait(limit));
        (result, boot)
    }

    fn problems(boot: &Boot) -> Vec<(&str, &[String])> {
        boot.outcomes.iter().map(|outcome| (outcome.name.as_str(), outcome.problems.as_slice())).collect()
    }

    #[test]
    fn a_boot_whose_promises_are_kept() {
        let setup = r#"{"result":"ok","phase":"setup"}"#;
        let mut guest = Scripted {
            statuses: [Some(setup), Some(OK)].into(),
            answers: [Err("refused"), Ok(""), Ok("17\n")].into(),
        };
        let (result, boot) = visit(&mut guest, None, Duration::from_mins(1), None);
        result.unwrap();
        assert_eq!(problems(&boot), [("boot", &[][..]), ("login", &[]), ("guid", &[])]);

        guest.answers = [Ok(""), Ok("18\n")].into();
        let (result, second) = visit(&mut guest, Some(&boot), Duration::from_mins(1), None);
        result.unwrap();
        assert_eq!(problems(&second)[2].1, ["the boot before it was '17'"]);
    }

    #[test]
    fn what_went_wrong_is_said_and_the_other_checks_go_on() {
        let failed = r#"{"result":"rescue","phase":"userscript","rescue":"two pools"}"#;
        let mut guest =
            Scripted { statuses: [Some(failed)].into(), answers: [Ok(""), Err("connection lost")].into() };
        let (result, boot) = visit(&mut guest, None, Duration::from_mins(1), None);
        result.unwrap();
        assert_eq!(boot.outcomes[0].problems, ["the result is 'rescue'"]);
        assert_eq!(boot.outcomes[2].problems, ["the command could not be run: connection lost"]);
    }

    #[test]
    fn a_boot_that_does_not_end_says_how_far_it_came() {
        let stopped = |status, ended| {
            let mut guest = Scripted { statuses: [status].into(), answers: VecDeque::new() };
            let (result, _) = visit(&mut guest, None, Duration::ZERO, ended);
            format!("{:#}", result.unwrap_err())
        };
        assert_eq!(stopped(None, None), "boot 1: no guest-init:status came: not within 0 s");
        let setup = r#"{"result":"ok","phase":"setup"}"#;
        assert_eq!(
            stopped(Some(setup), None),
            "boot 1: it came no further than the phase 'setup': not within 0 s"
        );
        assert_eq!(
            stopped(None, Some("the machine ended")),
            "boot 1: no guest-init:status came: the machine ended"
        );
        assert!(stopped(Some("garbage"), None).contains("guest-init:status is no JSON"));
    }

    #[test]
    fn a_guest_that_lets_nobody_in_is_a_promise_broken() {
        let mut guest = Scripted { statuses: [Some(OK)].into(), answers: [Err("Permission denied")].into() };
        let (result, boot) = visit(&mut guest, None, Duration::from_millis(500), None);
        assert!(format!("{:#}", result.unwrap_err()).starts_with("boot 1: nobody can log in"));
        assert_eq!(boot.outcomes[1].problems, ["Permission denied"]);
    }
}
