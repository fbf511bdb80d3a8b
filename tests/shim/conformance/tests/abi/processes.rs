//! Making processes and waiting for them.

use std::ptr;

use nix::libc;

use crate::{outcome, zeroed};

fn wait(process: libc::pid_t, options: i32) -> i32 {
    let mut status = 0;
    // SAFETY: a pointer to a live value.
    assert_eq!(unsafe { libc::waitpid(process, &raw mut status, options) }, process);
    status
}

/// A child that does `what`, which must only make system calls, and exits with 0 afterwards.
fn child(what: impl FnOnce()) -> libc::pid_t {
    // SAFETY: the child ends without returning.
    unsafe {
        let process = libc::fork();
        if process == 0 {
            what();
            libc::_exit(0);
        }
        process
    }
}

#[test]
fn a_status_tells_exit_and_signal_and_stop() {
    // SAFETY: system calls without pointers.
    unsafe {
        let exited = wait(child(|| libc::_exit(42)), 0);
        assert!(libc::WIFEXITED(exited));
        assert_eq!(libc::WEXITSTATUS(exited), 42);

        let killed = wait(
            child(|| {
                libc::raise(libc::SIGUSR2);
            }),
            0,
        );
        assert!(libc::WIFSIGNALED(killed));
        assert_eq!(libc::WTERMSIG(killed), libc::SIGUSR2);

        let process = child(|| {
            libc::raise(libc::SIGSTOP);
        });
        let stopped = wait(process, libc::WUNTRACED);
        assert!(libc::WIFSTOPPED(stopped));
        assert_eq!(libc::WSTOPSIG(stopped), libc::SIGSTOP);
        assert_eq!(libc::kill(process, libc::SIGCONT), 0);
        assert_eq!(wait(process, 0), 0);

        let process = child(|| {
            libc::pause();
        });
        assert_eq!(libc::waitpid(process, ptr::null_mut(), libc::WNOHANG), 0);
        assert_eq!(libc::kill(process, libc::SIGKILL), 0);
        assert_eq!(libc::WTERMSIG(wait(process, 0)), libc::SIGKILL);
        assert_eq!(outcome(libc::waitpid(process, ptr::null_mut(), 0)), Err(libc::ECHILD));
        assert_eq!(outcome(libc::kill(process, 0)), Err(libc::ESRCH));
    }
}

/// Starts `sh -c script` by posix_spawn with the given attributes prepared.
fn spawn(script: &std::ffi::CStr, prepare: impl FnOnce(*mut libc::posix_spawnattr_t)) -> libc::pid_t {
    let mut process = 0;
    let mut arguments =
        [c"sh".as_ptr().cast_mut(), c"-c".as_ptr().cast_mut(), script.as_ptr().cast_mut(), ptr::null_mut()];
    let mut variables = [c"PATH=/usr/bin:/bin".as_ptr().cast_mut(), ptr::null_mut()];
    // SAFETY: the attributes live until the end, and the vectors end with null.
    unsafe {
        let mut attributes: libc::posix_spawnattr_t = zeroed();
        assert_eq!(libc::posix_spawnattr_init(&raw mut attributes), 0);
        prepare(&raw mut attributes);
        let error = libc::posix_spawn(
            &raw mut process,
            c"/bin/sh".as_ptr(),
            ptr::null(),
            &raw const attributes,
            arguments.as_mut_ptr(),
            variables.as_mut_ptr(),
        );
        assert_eq!(error, 0);
        assert_eq!(libc::posix_spawnattr_destroy(&raw mut attributes), 0);
    }
    process
}

#[test]
fn a_spawned_process_gets_its_group() {
    // SAFETY: system calls without pointers but the attributes.
    unsafe {
        let process = spawn(c"read line", |attributes| {
            assert_eq!(libc::posix_spawnattr_setflags(attributes, libc::POSIX_SPAWN_SETPGROUP), 0);
            assert_eq!(libc::posix_spawnattr_setpgroup(attributes, 0), 0);
        });
        assert_eq!(libc::getpgid(process), process);
        assert_ne!(libc::getpgid(0), process);
        libc::kill(process, libc::SIGKILL);
        wait(process, 0);
    }
}

#[test]
fn a_spawned_process_gets_its_signals() {
    // SAFETY: pointers to live values.
    unsafe {
        // Ignored here, default there: the shell dies of its own signal.
        let before = libc::signal(libc::SIGUSR1, libc::SIG_IGN);
        let mut set: libc::sigset_t = zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGUSR1);
        let process = spawn(c"kill -USR1 $$; exit 7", |attributes| {
            assert_eq!(libc::posix_spawnattr_setflags(attributes, libc::POSIX_SPAWN_SETSIGDEF), 0);
            assert_eq!(libc::posix_spawnattr_setsigdefault(attributes, &raw const set), 0);
        });
        assert_eq!(libc::WTERMSIG(wait(process, 0)), libc::SIGUSR1);
        let process = spawn(c"kill -USR1 $$; exit 7", |_| {});
        assert_eq!(libc::WEXITSTATUS(wait(process, 0)), 7);
        libc::signal(libc::SIGUSR1, before);
    }
}

#[test]
fn what_cannot_be_spawned_is_known_at_once() {
    let mut process = 0;
    let mut arguments = [c"none".as_ptr().cast_mut(), ptr::null_mut()];
    // SAFETY: vectors that end with null.
    let error = unsafe {
        libc::posix_spawnp(
            &raw mut process,
            c"there-is-no-such-program".as_ptr(),
            ptr::null(),
            ptr::null(),
            arguments.as_mut_ptr(),
            ptr::null(),
        )
    };
    assert_eq!(error, libc::ENOENT);
}

#[test]
fn limits_have_illumos_numbers() {
    let mut limit: libc::rlimit = zeroed();
    // SAFETY: a pointer to a live value.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }, 0);
    assert!(limit.rlim_cur >= 64 && limit.rlim_cur <= limit.rlim_max);
}
