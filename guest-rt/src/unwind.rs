//! Stand-ins for the unwinder.
//!
//! The precompiled `std` refers to it even in programs that abort on panic, and libc has only a part of it (the
//! functions of the amd64 ABI, but not those that the GNU unwinder added). These are not exported, so libc goes on
//! using its own. Static programs for Linux would find all of it, and carry it and the reader of debugging information that
//! it makes std keep, for backtraces that a stripped program cannot show. A panic prints its message, shows an empty backtrace and aborts.

use core::ffi::{c_int, c_void};

/// `_URC_END_OF_STACK`: there are no more frames.
const END_OF_STACK: c_int = 5;

unsafe extern "C" {
    fn abort() -> !;
}

/// Reports an empty stack: the callback is never called.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(_callback: *const c_void, _argument: *mut c_void) -> c_int {
    END_OF_STACK
}

/// Functions that only a callback of `_Unwind_Backtrace`, or code that handles an exception, calls: neither runs here.
macro_rules! answer_zero {
    ($($name:ident)*) => { $(
        #[unsafe(no_mangle)]
        extern "C" fn $name(_context: *mut c_void, _argument: *mut c_void) -> usize {
            0
        }
    )* };
}

answer_zero! {
    _Unwind_FindEnclosingFunction
    _Unwind_GetCFA
    _Unwind_GetDataRelBase
    _Unwind_GetIP
    _Unwind_GetIPInfo
    _Unwind_GetLanguageSpecificData
    _Unwind_GetRegionStart
    _Unwind_GetTextRelBase
    _Unwind_SetGR
    _Unwind_SetIP
}

/// Functions that begin or go on with unwinding: there is none.
macro_rules! abort_program {
    ($($name:ident)*) => { $(
        #[unsafe(no_mangle)]
        extern "C" fn $name(_exception: *mut c_void) -> ! {
            // SAFETY: abort may be called at any time.
            unsafe { abort() }
        }
    )* };
}

abort_program! {
    _Unwind_DeleteException
    _Unwind_RaiseException
    _Unwind_Resume
}
