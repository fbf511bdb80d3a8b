//! How QEMU runs the guest's instructions.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;

use super::exec;
use super::patience::Wait;

/// How long a machine that executes five bytes may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The size of the firmware that asks, in bytes: the smallest that QEMU takes.
const FIRMWARE: usize = 64 << 10;

/// What stands where a processor begins, 16 bytes before the end: `mov al, 16; out 0xf4, al; hlt`.
const BEGIN: [u8; 5] = [0xb0, 0x10, 0xe6, 0xf4, 0xf4];

/// The exit status after 16 was written to QEMU's exit device: it shifts that left and sets the lowest bit.
const EXECUTED: i32 = 33;

/// How QEMU runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Accel {
    /// By the processor itself.
    Kvm,
    /// By translation: everywhere, and ten times slower.
    Tcg,
}

impl Accel {
    /// QEMU's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }

    /// The processor that the guest sees unless the user names another. That of TCG is the one of the virtual machines
    /// that SmartOS hosts made for many years.
    pub fn processor(self) -> &'static str {
        match self {
            Self::Kvm => "host",
            Self::Tcg => "qemu64",
        }
    }

    /// KVM where it works with this processor (its usual one if `None`), TCG elsewhere. `folder` is for a file.
    pub fn best(qemu: &Path, processor: Option<&str>, folder: &Path, wait: &Wait) -> Result<Self> {
        let processor = processor.unwrap_or(Self::Kvm.processor());
        Ok(if works(qemu, Self::Kvm, processor, folder, wait)? { Self::Kvm } else { Self::Tcg })
    }
}

/// Whether a machine with this processor executes instructions. A device that can be opened says nothing: KVM inside
/// another virtual machine may open and then abort.
fn works(qemu: &Path, accel: Accel, processor: &str, folder: &Path, wait: &Wait) -> Result<bool> {
    let firmware = folder.join("probe.bin");
    let mut bytes = vec![0; FIRMWARE];
    bytes[FIRMWARE - 16..][..BEGIN.len()].copy_from_slice(&BEGIN);
    fs::write(&firmware, bytes).with_context(|| format!("cannot write {}", firmware.display()))?;
    let mut command = Command::new(qemu);
    command.args([
        "-accel",
        accel.name(),
        "-machine",
        "pc",
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
    ]);
    command.args(["-cpu", processor, "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-bios"]);
    let wait_here = wait.at_most(PATIENCE);
    let said = exec::run(command.arg(&firmware), &wait_here);
    // Interruption is the caller's affair; a machine that hangs or aborts is an answer.
    wait.check()?;
    Ok(said.is_ok_and(|said| said.status == Some(EXECUTED)))
}

#[cfg(test)]
mod tests {
    use kiln_harness::tools;

    use super::super::patience::Patience;
    use super::*;

    #[test]
    fn a_machine_that_executes_works_and_others_do_not() {
        let Some(qemu) = tools::require("qemu-system-x86_64") else { return };
        let folder = tempfile::tempdir().unwrap();
        let wait = Patience::default().wait(Duration::from_mins(1));
        assert!(works(&qemu, Accel::Tcg, "qemu64", folder.path(), &wait).unwrap());
        assert!(!works(Path::new("/bin/false"), Accel::Kvm, "host", folder.path(), &wait).unwrap());
        assert_eq!(Accel::best(Path::new("/bin/false"), None, folder.path(), &wait).unwrap(), Accel::Tcg);
    }
}
