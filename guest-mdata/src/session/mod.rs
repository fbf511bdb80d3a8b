//! A conversation with the host over one channel, kept through resets of either side.

mod driver;
mod ids;
mod limits;
mod machine;
mod trouble;

pub use driver::Session;
pub use ids::RequestIds;
pub use limits::Limits;
