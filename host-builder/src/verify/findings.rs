//! What a verification brought to light.

use std::fmt;

use anyhow::Result;
use serde::Serialize;

/// One thing that was noticed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where: a part of the image or a path in it.
    pub place: String,
    /// What, in words.
    pub text: String,
}

/// Everything that was noticed.
#[derive(Debug, Default)]
pub struct Findings {
    /// What is wrong.
    pub problems: Vec<Finding>,
    /// What is worth knowing and not wrong.
    pub notes: Vec<Finding>,
    /// What was checked and is right.
    pub passed: Vec<Finding>,
}

impl Findings {
    /// Something is wrong.
    pub fn problem(&mut self, place: impl Into<String>, text: impl Into<String>) {
        self.problems.push(Finding { place: place.into(), text: text.into() });
    }

    /// Something is worth knowing.
    pub fn note(&mut self, place: impl Into<String>, text: impl Into<String>) {
        self.notes.push(Finding { place: place.into(), text: text.into() });
    }

    /// Something was checked and is right.
    pub fn passed(&mut self, place: impl Into<String>, text: impl Into<String>) {
        self.passed.push(Finding { place: place.into(), text: text.into() });
    }

    /// The value of a result; an error is a problem at `place`.
    pub fn take<T>(&mut self, place: &str, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.problem(place, format!("{error:#}"))).ok()
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (mark, findings) in [("ok   ", &self.passed), ("note ", &self.notes), ("WRONG", &self.problems)] {
            for Finding { place, text } in findings {
                writeln!(f, "{mark}  {place}: {text}")?;
            }
        }
        Ok(())
    }
}
