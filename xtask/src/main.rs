//! Development commands of the project.
fn main() {}
