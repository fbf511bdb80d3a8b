//! What a command answers.

/// What a command answers: what it prints and how it ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// Its exit status.
    pub status: u8,
    /// What it writes to standard output.
    pub stdout: Vec<u8>,
    /// What it writes to standard error.
    pub stderr: Vec<u8>,
    /// Why the simulator refuses to play this, if it does: an entry for `complaints.log`.
    pub complaint: Option<String>,
}

impl Reply {
    /// The status of a call that the simulator refuses to play.
    pub const REFUSED: u8 = 250;

    /// Success without a word.
    pub fn ok() -> Self {
        Self::default()
    }

    /// Success with text on standard output, newlines included.
    pub fn text(stdout: impl Into<String>) -> Self {
        Self { stdout: stdout.into().into_bytes(), ..Self::default() }
    }

    /// Failure with text on standard error, to which a newline is added.
    pub fn fail(status: u8, stderr: impl std::fmt::Display) -> Self {
        Self { status, stderr: format!("{stderr}\n").into_bytes(), ..Self::default() }
    }

    /// The simulator does not play this, because the platform does not know it or nothing is known of it. `what` completes
    /// "the platform's command ...", as in `does not know -X`.
    pub fn refuse(what: impl Into<String>) -> Self {
        Self { status: Self::REFUSED, complaint: Some(what.into()), ..Self::default() }
    }

    /// Adds text to standard error, and a newline.
    #[must_use]
    pub fn with_stderr(mut self, text: impl std::fmt::Display) -> Self {
        self.stderr.extend_from_slice(format!("{text}\n").as_bytes());
        self
    }
}
