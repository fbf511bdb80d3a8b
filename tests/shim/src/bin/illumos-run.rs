//! Cargo's runner for the illumos target: `illumos-run PROGRAM ARGUMENTS...` becomes the program under the ABI shim.
//! Settings are taken from the environment, see `docs/illumos.md`.

use std::process::ExitCode;

#[cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
fn main() -> ExitCode {
    use std::os::unix::process::CommandExt;
    let launcher = kiln_shim::launcher();
    let error = std::process::Command::new(&launcher).args(std::env::args_os().skip(1)).exec();
    eprintln!("illumos-run: {}: {error}", launcher.display());
    ExitCode::from(126)
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu")))]
fn main() -> ExitCode {
    eprintln!("illumos-run: illumos programs run only on x86-64 Linux with glibc");
    ExitCode::from(126)
}
