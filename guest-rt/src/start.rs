//! Process start.
//!
//! What has to happen, and in which order, is in illumos' usr/src/lib/common/amd64/crt1.s (until 2016) and
//! usr/src/lib/crt (since then).

use core::arch::global_asm;
use core::ffi::{c_char, c_int};

// At entry the stack holds argc, argv, a null pointer, the environment, a null pointer, and the auxiliary vector; %rdx
// holds the exit handler of the runtime linker. Both become arguments of `start`, on a stack aligned to 16 bytes with
// an empty frame at its end, where a debugger's stack walk stops.
//
// libc has its own copies of the five variables, made to give way to those of the executable. `environ` is another
// name of `_environ`: two names of one object cannot be said in Rust.
global_asm!(
    r#"
    .pushsection .text._start, "ax", @progbits
    .globl _start
    .type _start, @function
_start:
    xorl %ebp, %ebp
    movq (%rsp), %rdi
    leaq 8(%rsp), %rsi
    andq $-16, %rsp
    pushq %rbp
    pushq %rbp
    call {start}
    hlt
    .size _start, . - _start
    .popsection

    .pushsection .data.libc_variables, "aw", @progbits
    .balign 8
    .globl _environ
    .type _environ, @object
    .size _environ, 8
    .weak environ
    .type environ, @object
    .size environ, 8
_environ:
environ:
    .quad 0

    .globl ___Argv
    .type ___Argv, @object
    .size ___Argv, 8
___Argv:
    .quad 0

    # A mutex of the default kind: zeros but for its magic number.
    .globl __environ_lock
    .type __environ_lock, @object
    .size __environ_lock, 24
__environ_lock:
    .short 0, 0, 0, 0x4d58
    .quad 0, 0

    # The behaviour of C99 and SUSv3, which cc -std=c99 asks for; libc reads both while it starts.
    .globl __xpg4
    .type __xpg4, @object
    .size __xpg4, 4
__xpg4:
    .long 1
    .globl __xpg6
    .type __xpg6, @object
    .size __xpg6, 4
__xpg6:
    .long 0xffff
    .popsection
    "#,
    start = sym start,
    options(att_syntax)
);

unsafe extern "C" {
    static mut _environ: *mut *mut c_char;
    static mut ___Argv: *mut *mut c_char;
    fn atexit(handler: extern "C" fn()) -> c_int;
    fn exit(status: c_int) -> !;
    /// Sets up the floating point unit.
    fn __fpstart();
    /// What rustc makes of the program's `main`.
    fn main(argc: c_int, argv: *mut *mut c_char, environment: *mut *mut c_char) -> c_int;
}

/// Everything between `_start` and `main`, and the end of the process.
///
/// # Safety
/// `argv` must point to `argc` pointers, a null pointer, and the null-terminated environment; no other thread may run.
unsafe extern "C" fn start(argc: usize, argv: *mut *mut c_char, linker_exit: Option<extern "C" fn()>) -> ! {
    // SAFETY: this runs once, before any other code of the program and in the only thread, so nothing else accesses
    // the two variables; the pointers are what the kernel put on the stack; the functions are libc's, with the
    // signatures of its headers. The runtime linker has usually set `_environ` already, because libc's own
    // initialisation reads the environment.
    unsafe {
        if let Some(handler) = linker_exit {
            atexit(handler);
        }
        if (&raw const _environ).read().is_null() {
            (&raw mut _environ).write(argv.add(argc + 1));
        }
        (&raw mut ___Argv).write(argv);
        __fpstart();
        let environment = (&raw const _environ).read();
        exit(main(argc as c_int, argv, environment))
    }
}
