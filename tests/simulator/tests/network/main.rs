//! The network half of the simulator: its commands, its services, and its model of what packets meet.

mod commands;
mod machine;
mod model;
mod services;
