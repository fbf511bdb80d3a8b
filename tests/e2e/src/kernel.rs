//! Programs under a kernel that is poorer than the one at hand, or that kills them at a chosen moment.
//!
//! A file system without nameless files, a disk that fails, the instant between two renamings: all of them are hard to
//! come by, and none needs a privilege when a seccomp filter plays them. The filter belongs to the thread that starts
//! the program and to nothing else in the test.

use std::io;
use std::process::{Child, Command};

use seccompiler::SeccompCmpArgLen::Dword;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, apply_filter,
};

/// What is different about the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quirk {
    /// The file system has no nameless files: `O_TMPFILE` is refused, as by vfat or NFS.
    NoNamelessFiles,
    /// Nameless files cannot get a name, because `/proc` is not there to find them.
    NoNamingThroughProc,
    /// The file system knows no flags of renameat2(2), as NFS.
    NoRenameFlags,
    /// The file system knows no locks.
    NoLocks,
    /// The disk fails when it has to write down what it got.
    FailingDisk,
    /// A kill when the content of the first file is to be written to the disk.
    KilledAtSync,
    /// A kill when two names are to be swapped.
    KilledAtSwap,
    /// A kill when a file is to be renamed without replacing another.
    KilledAtRename,
    /// A kill when the first old file is to be removed.
    KilledAtRemoval,
}

/// A system call and what one of its arguments must be like.
type Call = (i64, Option<SeccompCondition>);

impl Quirk {
    /// The system calls that go wrong, and what becomes of them.
    fn calls(self) -> (Vec<Call>, SeccompAction) {
        let argument = |index, operator, value| {
            Some(
                SeccompCondition::new(index, Dword, operator, value)
                    .expect("a system call has six arguments"),
            )
        };
        let renaming_with = |flag: u32| {
            let calls = vec![(libc::SYS_renameat2, argument(4, SeccompCmpOp::Eq, flag.into()))];
            (calls, SeccompAction::KillProcess)
        };
        let error = |errno: i32| SeccompAction::Errno(errno.unsigned_abs());
        match self {
            Quirk::NoNamelessFiles => {
                let flag = number(libc::O_TMPFILE);
                let at = |index| argument(index, SeccompCmpOp::MaskedEq(flag), flag);
                let calls = vec![
                    (libc::SYS_openat, at(2)),
                    #[cfg(target_arch = "x86_64")]
                    (libc::SYS_open, at(1)),
                ];
                (calls, error(libc::EOPNOTSUPP))
            }
            Quirk::NoNamingThroughProc => {
                let flag = number(libc::AT_SYMLINK_FOLLOW);
                (vec![(libc::SYS_linkat, argument(4, SeccompCmpOp::Eq, flag))], error(libc::ENOENT))
            }
            Quirk::NoRenameFlags => {
                (vec![(libc::SYS_renameat2, argument(4, SeccompCmpOp::Ne, 0))], error(libc::EINVAL))
            }
            Quirk::NoLocks => (vec![(libc::SYS_flock, None)], error(libc::ENOLCK)),
            Quirk::FailingDisk => (vec![(libc::SYS_fsync, None)], error(libc::EIO)),
            Quirk::KilledAtSync => (vec![(libc::SYS_fsync, None)], SeccompAction::KillProcess),
            Quirk::KilledAtSwap => renaming_with(libc::RENAME_EXCHANGE),
            Quirk::KilledAtRename => renaming_with(libc::RENAME_NOREPLACE),
            Quirk::KilledAtRemoval => (vec![(libc::SYS_unlinkat, None)], SeccompAction::KillProcess),
        }
    }

    fn filter(self) -> BpfProgram {
        let (calls, action) = self.calls();
        let rule = |condition| SeccompRule::new(vec![condition]).expect("one condition is enough");
        let rules = calls.into_iter().map(|(call, on)| (call, on.into_iter().map(rule).collect())).collect();
        let architecture = std::env::consts::ARCH.try_into().expect("this architecture has seccomp filters");
        SeccompFilter::new(rules, SeccompAction::Allow, action, architecture)
            .and_then(TryInto::try_into)
            .expect("the filter is small and has two different actions")
    }
}

fn number(flags: i32) -> u64 {
    flags.unsigned_abs().into()
}

/// Starts a program under a kernel with these quirks.
///
/// # Errors
/// The program cannot be started.
///
/// # Panics
/// The kernel takes no filters.
pub fn spawn(command: &mut Command, quirks: &[Quirk]) -> io::Result<Child> {
    // A filter cannot be taken off again, so it goes to a thread that ends.
    let start = || {
        for quirk in quirks {
            apply_filter(&quirk.filter()).expect("kernels since 3.17 take filters from everybody");
        }
        command.spawn()
    };
    std::thread::scope(|scope| scope.spawn(start).join().expect("the thread starts a program"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Stdio;

    #[test]
    fn a_quirk_meets_its_system_call_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let run = |quirks: &[Quirk]| {
            let mut command = Command::new("python3");
            command.args(["-c", "import os\nos.rename('a', 'b')\nos.open('.', os.O_TMPFILE | os.O_RDWR)"]);
            std::fs::write(folder.path().join("a"), "").unwrap();
            command.current_dir(folder.path()).stderr(Stdio::piped());
            let said = spawn(&mut command, quirks).unwrap().wait_with_output().unwrap();
            (said.status.success(), String::from_utf8_lossy(&said.stderr).into_owned())
        };
        if kiln_harness::tools::require("python3").is_none() {
            return;
        }
        assert_eq!(run(&[]), (true, String::new()));
        assert_eq!(run(&[Quirk::NoLocks, Quirk::FailingDisk]), (true, String::new()));
        let (success, said) = run(&[Quirk::NoLocks, Quirk::NoNamelessFiles]);
        assert!(!success && said.contains("Operation not supported"), "{said}");
    }
}
