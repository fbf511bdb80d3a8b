//! How phases and steps are run.

mod guest;
mod log;
mod runner;
mod step;

pub use guest::Guest;
pub use log::Log;
pub use runner::{Phase, Purpose, run};
pub use step::{Finding, OnFailure, Step};
