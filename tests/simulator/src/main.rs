//! The simulator: illumos' commands by the name it is called under.

use std::process::ExitCode;

fn main() -> ExitCode {
    kiln_simulator::program::main()
}
