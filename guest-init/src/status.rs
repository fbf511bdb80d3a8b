//! How the boot went, for its owner: on this machine by `guest-init status`, and outside as a metadata key.

use std::fmt::Write;
use std::time::Duration;

use guest_mdata::error::{Error, KeyProblem};
use serde_json::{Value, json};

use crate::engine::{Log, one_line};
use crate::moment::utc;
use crate::phase::identity::metadata::Metadata;
use crate::state::{PhaseResult, State};

/// The metadata key with the status.
pub const KEY: &str = "guest-init:status";

/// The longest value of the key, in bytes.
pub const LONGEST: usize = 2048;

/// The most warnings that go with it.
const MOST_WARNINGS: usize = 4;

/// How long the host may take to store it. It is told for the owner's sake; no boot waits for that.
const PATIENCE: Duration = Duration::from_secs(5);

/// How a phase or the boot came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Everything is as it should be.
    Ok,
    /// Some steps failed.
    Failed,
    /// The guest goes without its pool.
    Rescue,
}

impl Outcome {
    fn of(state: &State) -> Self {
        if state.rescue.is_some() {
            Self::Rescue
        } else if state.results.iter().any(|result| !result.failed.is_empty()) {
            Self::Failed
        } else {
            Self::Ok
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Rescue => "rescue",
        }
    }
}

/// Whether everything is as it should be so far.
pub fn is_good(state: &State) -> bool {
    Outcome::of(state) == Outcome::Ok
}

/// The status as a JSON object.
///
/// `phase` and `time` are of the phase that ended last, `step` and `failure` of the first step that failed in it, or else in
/// an earlier one; `result` is `ok`, `failed` or `rescue`; `warnings` has what did no harm. Texts have at most `longest`
/// characters.
fn object(state: &State, longest: usize) -> Value {
    let cut = |text: &str| one_line(text).chars().take(longest).collect::<String>();
    let last = state.results.last();
    let failed = last
        .filter(|result| !result.failed.is_empty())
        .or_else(|| state.results.iter().find(|result| !result.failed.is_empty()));
    let first = failed.and_then(|result| Some((result, result.failed.first()?)));
    let mut object = json!({
        "result": Outcome::of(state).word(),
        "phase": last.map(|result| cut(&result.phase)),
        "time": last.map(|result| utc(result.ended)),
    });
    if let Some((result, (step, reason))) = first {
        object["step"] = json!(format!("{}/{}", cut(&result.phase), cut(step)));
        object["failure"] = json!(cut(reason));
    }
    if let Some(reason) = &state.rescue {
        object["rescue"] = json!(cut(reason));
    }
    let warnings = state.results.iter().flat_map(|result| &result.warnings);
    let warnings: Vec<String> = warnings.take(MOST_WARNINGS).map(|warning| cut(warning)).collect();
    if !warnings.is_empty() {
        object["warnings"] = json!(warnings);
    }
    object
}

/// The status for the host: JSON of at most [`LONGEST`] bytes, whatever the texts.
pub fn brief(state: &State) -> String {
    // Without its texts it has less than 200 bytes, so the last attempt fits.
    let mut text = String::new();
    for longest in [600, 300, 100, 20, 0] {
        text = object(state, longest).to_string();
        if text.len() <= LONGEST {
            break;
        }
    }
    text
}

/// The whole status as JSON: the brief one, and what each phase came to.
pub fn json(state: &State) -> String {
    let mut object = object(state, usize::MAX);
    object["phases"] = state
        .results
        .iter()
        .map(|result| {
            json!({
                "phase": result.phase,
                "time": utc(result.ended),
                "changed": result.changed,
                "warnings": result.warnings,
                "failed": result.failed.iter().map(|(step, reason)| json!({"step": step, "reason": reason}))
                    .collect::<Vec<_>>(),
            })
        })
        .collect();
    object["key"] = json!(state.key.as_ref().map(|key| &key.disk));
    object["pool"] = json!(state.pool.as_ref().map(|pool| &pool.name));
    object["first_boot"] = json!(state.first_boot);
    object.to_string()
}

/// The whole status for people.
pub fn text(state: &State) -> String {
    let mut text = String::new();
    // Writing into a string succeeds.
    let mut line = |words: String| {
        let _ = writeln!(text, "{}", one_line(&words));
    };
    if let Some(reason) = &state.rescue {
        line(format!("RESCUE MODE: this boot goes without its pool: {reason}"));
    }
    if let Some(step) = &state.first_boot {
        line(format!(
            "the first boot is not complete, step '{step}' was its last: the next boot goes on with it"
        ));
    }
    if state.results.is_empty() {
        line("no phase has run since this boot began".to_owned());
    }
    for result in &state.results {
        line(format!("{}  {}: {}", utc(result.ended), result.phase, summary(result)));
        for (step, reason) in &result.failed {
            line(format!("    {step} FAILED: {reason}"));
        }
        for warning in &result.warnings {
            line(format!("    WARNING: {warning}"));
        }
    }
    text
}

/// What a phase came to, in a few words.
pub fn summary(result: &PhaseResult) -> String {
    let changed = match result.changed.as_slice() {
        [] => "nothing changed".to_owned(),
        steps => format!("changed {}", steps.join(", ")),
    };
    match result.failed.len() {
        0 => format!("ok, {changed}"),
        1 => format!("1 step failed, {changed}"),
        number => format!("{number} steps failed, {changed}"),
    }
}

/// Tells the host. Hosts that cannot store anything, or are silent, are left alone.
pub fn tell_host(state: &State, metadata: &mut Metadata, log: &mut Log) {
    match metadata.put(KEY, brief(state).as_bytes(), PATIENCE) {
        Ok(()) => log.line(&format!("told the host how it went, as metadata key {KEY}")),
        Err(Error::Key { problem: KeyProblem::Unsupported(_), .. }) => {}
        Err(error) => log.line(&format!("the host was not told how it went: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use guest_mdata::Monotonic;
    use guest_mdata::source::Recorded;

    use super::*;

    fn state() -> State {
        let mut state = State::default();
        let ended = 1_414_657_021;
        state.record(PhaseResult {
            ended,
            changed: vec!["pool".into()],
            warnings: vec!["it took\ttwo attempts".into()],
            ..PhaseResult::of("storage")
        });
        state.record(PhaseResult {
            ended: ended + 60,
            failed: vec![("nat".into(), "no \"link\"\nat all".into())],
            ..PhaseResult::of("setup")
        });
        state
    }

    #[test]
    fn the_owner_reads_what_failed() {
        assert_eq!(
            text(&state()),
            "2014-10-30T08:17:01Z  storage: ok, changed pool\n    \
             WARNING: it took two attempts\n\
             2014-10-30T08:18:01Z  setup: 1 step failed, nothing changed\n    \
             nat FAILED: no \"link\" at all\n"
        );
        assert_eq!(text(&State::default()), "no phase has run since this boot began\n");
        let owing = State { first_boot: Some("var".to_owned()), ..state() };
        assert!(text(&owing).starts_with("the first boot is not complete, step 'var' was its last"));
    }

    #[test]
    fn the_host_is_told_phase_step_result_failure_and_time() {
        let told: Value = serde_json::from_str(&brief(&state())).expect("JSON");
        assert_eq!(
            told,
            json!({"result": "failed", "phase": "setup", "time": "2014-10-30T08:18:01Z",
                   "step": "setup/nat", "failure": "no \"link\" at all", "warnings": ["it took two attempts"]})
        );
        let mut later = state();
        later.rescue = Some("two pools".to_owned());
        later.record(PhaseResult::of("init"));
        let told: Value = serde_json::from_str(&brief(&later)).expect("JSON");
        assert_eq!(told["result"], "rescue");
        assert_eq!(told["rescue"], "two pools");
        assert_eq!(told["phase"], "init");
        assert_eq!(told["step"], "setup/nat", "a failure stays in sight");
    }

    #[test]
    fn it_fits_whatever_the_texts() {
        for text in ["\"".repeat(1 << 16), "\u{1}".repeat(5000), "\u{1f600}".repeat(3000), "\\".repeat(900)] {
            let mut state = State { rescue: Some(text.clone()), ..State::default() };
            state.record(PhaseResult {
                failed: vec![(text.clone(), text.clone()); 100],
                warnings: vec![text.clone(); 100],
                ..PhaseResult::of(&text)
            });
            let told = brief(&state);
            assert!(told.len() <= LONGEST, "{} bytes", told.len());
            serde_json::from_str::<Value>(&told).expect("JSON");
        }
    }

    #[test]
    fn the_whole_status_names_every_phase() {
        let whole: Value = serde_json::from_str(&json(&state())).expect("JSON");
        assert_eq!(whole["phases"][0]["changed"], json!(["pool"]));
        assert_eq!(whole["phases"][1]["failed"][0]["step"], "nat");
        assert_eq!(whole["first_boot"], Value::Null);
    }

    #[test]
    fn a_silent_host_is_no_failure() {
        let clock = || Box::new(Monotonic::starting_now());
        let mut silent = Metadata::new(Box::new(Recorded::silent()), clock(), Duration::from_secs(1));
        tell_host(&state(), &mut silent, &mut Log::new("setup", false));
        let mut metadata =
            Metadata::new(Box::new(Recorded::new::<&str, &str>([])), clock(), Duration::from_secs(1));
        tell_host(&state(), &mut metadata, &mut Log::new("setup", false));
        let told = metadata.get(KEY).expect("asked").expect("stored");
        assert_eq!(told, brief(&state()).into_bytes());
    }
}
