//! The commands that look inside images, on those of zones: inspect, ls, cat, diff, verify, convert.

mod bad;
mod convert;
mod look;
mod make;
mod origins;
