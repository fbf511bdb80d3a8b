//! Signals and their handlers.

use std::sync::atomic::{AtomicI32, Ordering};

use nix::libc;

use crate::{outcome, zeroed};

static SIGNAL: AtomicI32 = AtomicI32::new(0);
static INFO_SIGNAL: AtomicI32 = AtomicI32::new(0);
static INFO_CODE: AtomicI32 = AtomicI32::new(0);
static INFO_SENDER: AtomicI32 = AtomicI32::new(0);

extern "C" fn handler(signal: i32, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    SIGNAL.store(signal, Ordering::SeqCst);
    // SAFETY: SA_SIGINFO was asked for, so the pointer is good.
    unsafe {
        INFO_SIGNAL.store((*info).si_signo, Ordering::SeqCst);
        INFO_CODE.store((*info).si_code, Ordering::SeqCst);
        INFO_SENDER.store((*info).si_pid(), Ordering::SeqCst);
    }
}

/// Every signal that a program can send itself and survive, by illumos' number.
const SIGNALS: [i32; 21] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGABRT,
    libc::SIGSYS,
    libc::SIGPIPE,
    libc::SIGALRM,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGCHLD,
    libc::SIGPWR,
    libc::SIGWINCH,
    libc::SIGURG,
    libc::SIGPOLL,
    libc::SIGTSTP,
    libc::SIGCONT,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGXCPU,
    libc::SIGXFSZ,
];

#[test]
fn handlers_get_illumos_numbers() {
    for signal in SIGNALS {
        let (mut action, mut before): (libc::sigaction, libc::sigaction) = (zeroed(), zeroed());
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        // SAFETY: the handler only stores numbers.
        unsafe {
            assert_eq!(libc::sigaction(signal, &raw const action, &raw mut before), 0, "{signal}");
            // In this thread at once, whereas kill(2) might choose another.
            assert_eq!(libc::raise(signal), 0);
            let mut now: libc::sigaction = zeroed();
            assert_eq!(libc::sigaction(signal, &raw const before, &raw mut now), 0);
            assert_eq!(now.sa_sigaction, action.sa_sigaction);
            assert_eq!(now.sa_flags, libc::SA_SIGINFO);
            assert_eq!(SIGNAL.load(Ordering::SeqCst), signal);
            assert_eq!(INFO_SIGNAL.load(Ordering::SeqCst), signal);
            // SI_LWP: from a thread of the process.
            assert_eq!(INFO_CODE.load(Ordering::SeqCst), -1);
            assert_eq!(INFO_SENDER.load(Ordering::SeqCst), libc::getpid());
        }
    }
}

#[test]
fn a_handler_learns_who_sent_the_signal() {
    let mut action: libc::sigaction = zeroed();
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: the child, which has one thread, makes system calls and ends.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::sigaction(libc::SIGUSR2, &raw const action, std::ptr::null_mut());
            libc::kill(libc::getpid(), libc::SIGUSR2);
            // SI_USER is 0.
            let right = SIGNAL.load(Ordering::SeqCst) == libc::SIGUSR2
                && INFO_CODE.load(Ordering::SeqCst) == 0
                && INFO_SENDER.load(Ordering::SeqCst) == libc::getpid();
            libc::_exit(i32::from(!right));
        }
        let mut status = -1;
        assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
        assert_eq!(status, 0);
    }
}

#[test]
fn a_handler_by_signal_serves_once() {
    extern "C" fn once(signal: i32) {
        SIGNAL.store(-signal, Ordering::SeqCst);
    }
    // SAFETY: the handler only stores a number.
    unsafe {
        let before = libc::signal(libc::SIGUSR1, once as *const () as usize);
        libc::raise(libc::SIGUSR1);
        assert_eq!(SIGNAL.load(Ordering::SeqCst), -libc::SIGUSR1);
        assert_eq!(libc::signal(libc::SIGUSR1, before), libc::SIG_DFL);
    }
}

#[test]
fn sets_hold_all_73_signals_in_16_bytes() {
    assert_eq!(size_of::<libc::sigset_t>(), 16);
    let mut set: libc::sigset_t = zeroed();
    // SAFETY: a pointer to a live value.
    unsafe {
        libc::sigfillset(&raw mut set);
        for signal in 1..=73 {
            assert_eq!(libc::sigismember(&raw const set, signal), 1);
            assert_eq!(libc::sigdelset(&raw mut set, signal), 0);
            assert_eq!(libc::sigismember(&raw const set, signal), 0);
        }
        assert_eq!(outcome(libc::sigaddset(&raw mut set, 74)), Err(libc::EINVAL));
        assert_eq!(outcome(libc::sigaddset(&raw mut set, 0)), Err(libc::EINVAL));
    }
}

#[test]
fn a_blocked_signal_is_pending() {
    let (mut set, mut before, mut pending): (libc::sigset_t, libc::sigset_t, libc::sigset_t) =
        (zeroed(), zeroed(), zeroed());
    // SAFETY: pointers to live values; the signal is ignored when it is let through.
    unsafe {
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGWINCH);
        assert_eq!(libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, &raw mut before), 0);
        assert_eq!(libc::sigismember(&raw const before, libc::SIGWINCH), 0);
        libc::raise(libc::SIGWINCH);
        let mut now: libc::sigset_t = zeroed();
        assert_eq!(libc::sigprocmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut now), 0);
        assert_eq!(libc::sigismember(&raw const now, libc::SIGWINCH), 1);
        assert_eq!(libc::sigpending(&raw mut pending), 0);
        assert_eq!(libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut()), 0);
    }
}
