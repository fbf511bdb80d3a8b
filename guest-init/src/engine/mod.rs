//! How phases and steps are run.

mod guest;
mod lock;
mod log;
mod runner;
mod step;

pub use guest::Guest;
pub use lock::Lock;
pub use log::{Log, one_line};
pub use runner::{Phase, plan, run};
pub use step::{Finding, OnFailure, Step};
