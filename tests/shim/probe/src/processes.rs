//! Steps about processes, signals and threads.

use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};

use crate::{Seen, ensure};

/// A child with pipes; std starts it with posix_spawn.
pub fn spawn() -> Seen {
    let output = Command::new("/bin/sh").args(["-c", "echo out; echo err >&2; exit 3"]).output()?;
    ensure(output.status.code() == Some(3), "the exit status is wrong")?;
    ensure(output.stdout == b"out\n" && output.stderr == b"err\n", "the output is wrong")?;
    let killed = Command::new("/bin/sh").args(["-c", "kill -TERM $$"]).status()?;
    ensure(killed.signal() == Some(15), "the signal is wrong")?;
    let missing = Command::new("/nonexistent").status().err().ok_or("/nonexistent runs")?;
    ensure(missing.kind() == std::io::ErrorKind::NotFound, "the error is wrong")?;
    Ok("status, output and signal arrive".to_owned())
}

/// A child in another folder and group; std starts it with fork and exec.
pub fn spawn_elsewhere() -> Seen {
    let mut child = Command::new("/bin/cat")
        .current_dir("/")
        .env_clear()
        .env("LC_ALL", "C")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    child.stdin.take().ok_or("no pipe to the child")?.write_all(b"abc")?;
    let mut text = String::new();
    child.stdout.take().ok_or("no pipe from the child")?.read_to_string(&mut text)?;
    ensure(text == "abc" && child.wait()?.success(), "the child answers something else")?;
    let mut sleeper = Command::new("/bin/sh").args(["-c", "exec sleep 100"]).spawn()?;
    ensure(sleeper.try_wait()?.is_none(), "the child has ended already")?;
    sleeper.kill()?;
    ensure(sleeper.wait()?.signal() == Some(9), "the child ended otherwise")?;
    Ok("a pipe both ways, and a kill".to_owned())
}

static CAUGHT: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_signal: nix::libc::c_int) {
    CAUGHT.fetch_add(1, Ordering::SeqCst);
}

pub fn signals() -> Seen {
    let action = SigAction::new(SigHandler::Handler(count), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler only adds to an atomic counter.
    let old = unsafe { sigaction(Signal::SIGUSR1, &action)? };
    raise(Signal::SIGUSR1)?;
    ensure(CAUGHT.load(Ordering::SeqCst) == 1, "the handler did not run once")?;
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGUSR1);
    mask.thread_block()?;
    raise(Signal::SIGUSR1)?;
    ensure(CAUGHT.load(Ordering::SeqCst) == 1, "a blocked signal arrived")?;
    mask.thread_unblock()?;
    ensure(CAUGHT.load(Ordering::SeqCst) == 2, "a blocked signal is lost")?;
    // SAFETY: what was there before.
    unsafe { sigaction(Signal::SIGUSR1, &old)? };
    Ok("caught, blocked and delivered".to_owned())
}

pub fn threads() -> Seen {
    let (sender, receiver) = mpsc::channel();
    let sum = Arc::new(Mutex::new(0));
    let threads: Vec<_> = (1..=4)
        .map(|number| {
            let (sender, sum) = (sender.clone(), Arc::clone(&sum));
            thread::Builder::new().name(format!("probe-{number}")).spawn(move || {
                *sum.lock().expect("no thread panics") += number;
                sender.send(number).expect("the receiver waits for all");
            })
        })
        .collect::<Result<_, _>>()?;
    for thread in threads {
        thread.join().map_err(|_| "a thread panicked")?;
    }
    ensure(receiver.try_iter().sum::<i32>() == 10, "a message is lost")?;
    ensure(*sum.lock().map_err(|_| "the lock is poisoned")? == 10, "an addition is lost")?;
    let waited = receiver.recv_timeout(Duration::from_millis(10));
    ensure(waited == Err(mpsc::RecvTimeoutError::Timeout), "a message out of nothing")?;
    let condition = Condvar::new();
    let guard = sum.lock().map_err(|_| "the lock is poisoned")?;
    let (_guard, result) =
        condition.wait_timeout(guard, Duration::from_millis(10)).map_err(|_| "the lock is poisoned")?;
    ensure(result.timed_out(), "a condition came true by itself")?;
    Ok(format!("4, and room for {}", thread::available_parallelism()?))
}
