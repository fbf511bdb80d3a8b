//! The client's cases of the test matrix, against a scripted host and with a clock that is moved by hand: an hour of
//! waiting takes no time. The numbers in the names are those of the cases.

mod double;
mod frames;
mod sound;
mod timing;
mod transcripts;
mod trouble;

// What an illumos executable needs to start.
use guest_rt as _;
