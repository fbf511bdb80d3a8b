//! Functions that are newer than the oldest platform, or that are mended later.
//!
//! A missing function is defined here under its own name. Each definition asks the runtime linker once for the
//! platform's own function and uses it if there is one; otherwise it does the work with older calls. The names are not
//! exported, so the question never finds the definition that asks.
//!
//! A function that exists everywhere but has faults on old platforms is wrapped by the linker: a call of `fcntl` arrives
//! at `__wrap_fcntl`, and `__real_fcntl` is the platform's. Variadic functions are wrapped by functions with one more
//! integer argument: in the calling convention of amd64 both look the same to callee and caller.

mod descriptors;
mod files;
mod random;
mod sockets;

use core::ffi::{CStr, c_char, c_int, c_void};
use core::sync::atomic::{AtomicUsize, Ordering};

/// Asks for the first definition in the program and its libraries, in the order of loading (dlfcn.h).
const RTLD_DEFAULT: *mut c_void = -2_isize as *mut c_void;

/// The answer of a [`Platform`] that has been asked in vain: no function has this address.
const MISSING: usize = 1;

unsafe extern "C" {
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    /// The calling thread's `errno`.
    fn ___errno() -> *mut c_int;
}

/// A function that the platform may have.
struct Platform {
    name: &'static CStr,
    /// 0 before the first question, then the address or [`MISSING`].
    address: AtomicUsize,
}

impl Platform {
    const fn new(name: &'static CStr) -> Self {
        Self { name, address: AtomicUsize::new(0) }
    }

    /// The address of the platform's own function.
    fn find(&self) -> Option<usize> {
        // Threads that ask at the same time get and store the same answer.
        let mut address = self.address.load(Ordering::Relaxed);
        if address == 0 {
            // SAFETY: the name is null-terminated and the handle one that the function takes.
            address = unsafe { dlsym(RTLD_DEFAULT, self.name.as_ptr()) } as usize;
            if address == 0 {
                address = MISSING;
            }
            self.address.store(address, Ordering::Relaxed);
        }
        (address != MISSING).then_some(address)
    }
}

/// The platform's own function of a name, as `Option<fn>`. The caller answers for the signature.
macro_rules! platform {
    ($name:literal as $signature:ty) => {{
        static FUNCTION: $crate::newer::Platform = $crate::newer::Platform::new($name);
        // SAFETY: the runtime linker gave the address under the function's name, and the signature is that of the
        // function of this name in the platform's headers.
        FUNCTION.find().map(|address| unsafe { core::mem::transmute::<usize, $signature>(address) })
    }};
}
use platform;

/// Sets `errno`; gives the result of a failed call.
fn fail(error: c_int) -> c_int {
    // SAFETY: the function gives a valid pointer to a variable that only this thread uses.
    unsafe { *___errno() = error };
    -1
}

/// `errno` of the last call that failed.
fn last_error() -> c_int {
    // SAFETY: as in `fail`.
    unsafe { *___errno() }
}
