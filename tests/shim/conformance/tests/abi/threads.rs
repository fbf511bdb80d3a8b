//! Threads and their locks.

use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nix::libc;

use crate::zeroed;

#[test]
fn locks_report_illumos_errors() {
    let mut attributes: libc::pthread_mutexattr_t = zeroed();
    let mut mutex: libc::pthread_mutex_t = zeroed();
    // SAFETY: the objects live until the end and are used from this thread.
    unsafe {
        assert_eq!(libc::pthread_mutexattr_init(&raw mut attributes), 0);
        assert_eq!(libc::pthread_mutexattr_settype(&raw mut attributes, libc::PTHREAD_MUTEX_ERRORCHECK), 0);
        assert_eq!(libc::pthread_mutex_init(&raw mut mutex, &raw const attributes), 0);
        assert_eq!(libc::pthread_mutex_lock(&raw mut mutex), 0);
        assert_eq!(libc::pthread_mutex_lock(&raw mut mutex), libc::EDEADLK);
        assert_eq!(libc::pthread_mutex_trylock(&raw mut mutex), libc::EBUSY);
        assert_eq!(libc::pthread_mutex_unlock(&raw mut mutex), 0);
        assert_eq!(libc::pthread_mutex_unlock(&raw mut mutex), libc::EPERM);
        assert_eq!(libc::pthread_mutex_destroy(&raw mut mutex), 0);

        assert_eq!(libc::pthread_mutexattr_settype(&raw mut attributes, libc::PTHREAD_MUTEX_RECURSIVE), 0);
        assert_eq!(libc::pthread_mutex_init(&raw mut mutex, &raw const attributes), 0);
        for _ in 0..3 {
            assert_eq!(libc::pthread_mutex_lock(&raw mut mutex), 0);
        }
        for _ in 0..3 {
            assert_eq!(libc::pthread_mutex_unlock(&raw mut mutex), 0);
        }
        assert_eq!(libc::pthread_mutex_destroy(&raw mut mutex), 0);
    }
}

#[test]
fn a_deadline_of_either_clock_passes() {
    for clock in [libc::CLOCK_REALTIME, libc::CLOCK_MONOTONIC] {
        let mut attributes: libc::pthread_condattr_t = zeroed();
        let mut condition: libc::pthread_cond_t = zeroed();
        let mut mutex = libc::PTHREAD_MUTEX_INITIALIZER;
        let mut until: libc::timespec = zeroed();
        // SAFETY: as above.
        unsafe {
            assert_eq!(libc::pthread_condattr_init(&raw mut attributes), 0);
            assert_eq!(libc::pthread_condattr_setclock(&raw mut attributes, clock), 0);
            assert_eq!(libc::pthread_cond_init(&raw mut condition, &raw const attributes), 0);
            assert_eq!(libc::clock_gettime(clock, &raw mut until), 0);
            until.tv_sec -= 1;
            assert_eq!(libc::pthread_mutex_lock(&raw mut mutex), 0);
            let result = libc::pthread_cond_timedwait(&raw mut condition, &raw mut mutex, &raw const until);
            assert_eq!(result, libc::ETIMEDOUT);
            assert_eq!(libc::pthread_mutex_unlock(&raw mut mutex), 0);
            assert_eq!(libc::pthread_cond_destroy(&raw mut condition), 0);
        }
    }
}

#[test]
fn many_threads_come_and_go() {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    for _ in 0..100 {
        let threads: Vec<_> =
            (0..10).map(|_| thread::spawn(|| COUNT.fetch_add(1, Ordering::SeqCst))).collect();
        for thread in threads {
            thread.join().unwrap();
        }
    }
    // Detached ones make room as well; 4096 at once is the most the shim has.
    for started in 1001..=6000 {
        drop(
            thread::Builder::new().stack_size(65536).spawn(|| COUNT.fetch_add(1, Ordering::SeqCst)).unwrap(),
        );
        while COUNT.load(Ordering::SeqCst) + 100 < started {
            thread::yield_now();
        }
    }
    while COUNT.load(Ordering::SeqCst) < 6000 {
        thread::yield_now();
    }
}

#[test]
fn a_thread_is_joined_once() {
    extern "C" fn run(argument: *mut libc::c_void) -> *mut libc::c_void {
        argument
    }
    let mut thread = 0;
    let mut result = ptr::null_mut();
    // SAFETY: pointers to live values; the argument is never followed.
    unsafe {
        assert_eq!(
            libc::pthread_create(&raw mut thread, ptr::null(), run, ptr::without_provenance_mut(77)),
            0
        );
        assert_eq!(libc::pthread_join(thread, &raw mut result), 0);
        assert_eq!(result.addr(), 77);
        assert_eq!(libc::pthread_join(thread, &raw mut result), libc::ESRCH);
    }
}
