//! Files: O_DIRECTORY (2020-02-05), preadv and pwritev (2015-01), flock (2015-02).

use core::ffi::{c_char, c_int, c_void};

use super::{fail, last_error, platform};

const ENOTDIR: c_int = 20;
const ENOSYS: c_int = 89;
const O_NOFOLLOW: c_int = 0x2_0000;
const O_DIRECTORY: c_int = 0x100_0000;
const AT_FDCWD: c_int = 0xffd1_9553_u32 as c_int;
const AT_SYMLINK_NOFOLLOW: c_int = 0x1000;
const S_IFMT: u32 = 0xf000;
const S_IFDIR: u32 = 0x4000;

/// `struct stat`, of which only the mode is read here.
#[repr(C)]
struct Stat {
    device: u64,
    inode: u64,
    mode: u32,
    /// More than the rest of the 128 bytes.
    rest: [u32; 59],
}

impl Stat {
    const EMPTY: Self = Self { device: 0, inode: 0, mode: 0, rest: [0; 59] };

    fn is_directory(&self) -> bool {
        self.mode & S_IFMT == S_IFDIR
    }
}

unsafe extern "C" {
    fn __real_open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn __real_openat(folder: c_int, path: *const c_char, flags: c_int, ...) -> c_int;
    fn close(descriptor: c_int) -> c_int;
    fn fstat(descriptor: c_int, status: *mut Stat) -> c_int;
    fn fstatat(folder: c_int, path: *const c_char, status: *mut Stat, flags: c_int) -> c_int;
    fn pread(descriptor: c_int, buffer: *mut c_void, len: usize, offset: i64) -> isize;
    fn pwrite(descriptor: c_int, buffer: *const c_void, len: usize, offset: i64) -> isize;
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_open(path: *const c_char, flags: c_int, mode: usize) -> c_int {
    // SAFETY: the caller's arguments are passed on as they are; AT_FDCWD makes openat the same as open.
    unsafe {
        if flags & O_DIRECTORY != 0 {
            open_directory(AT_FDCWD, path, flags, mode)
        } else {
            __real_open(path, flags, mode)
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_openat(folder: c_int, path: *const c_char, flags: c_int, mode: usize) -> c_int {
    // SAFETY: the caller's arguments are passed on as they are.
    unsafe {
        if flags & O_DIRECTORY != 0 {
            open_directory(folder, path, flags, mode)
        } else {
            __real_openat(folder, path, flags, mode)
        }
    }
}

/// Opens a directory on platforms that do not know O_DIRECTORY, and ignore it. `std::fs::remove_dir_all` relies on it to
/// tell files from folders.
///
/// # Safety
/// `path` must be a null-terminated string.
unsafe fn open_directory(folder: c_int, path: *const c_char, flags: c_int, mode: usize) -> c_int {
    let mut status = Stat::EMPTY;
    let follow = if flags & O_NOFOLLOW == 0 { 0 } else { AT_SYMLINK_NOFOLLOW };
    // Looked at first, because merely opening a FIFO blocks, and opening a device may do anything.
    // SAFETY: `path` is a string, as the caller promises, and `status` is at least as large as the real structure.
    if unsafe { fstatat(folder, path, &raw mut status, follow) } < 0 {
        return -1;
    }
    if !status.is_directory() {
        return fail(ENOTDIR);
    }
    // SAFETY: as above.
    let descriptor = unsafe { __real_openat(folder, path, flags, mode) };
    if descriptor < 0 {
        return descriptor;
    }
    // Looked at again, because the name may have come to mean something else in between.
    // SAFETY: `status` is at least as large as the real structure.
    let error = match unsafe { fstat(descriptor, &raw mut status) } {
        0 if status.is_directory() => return descriptor,
        0 => ENOTDIR,
        _ => last_error(),
    };
    // SAFETY: the descriptor was made here and nobody else has seen its number.
    unsafe { close(descriptor) };
    fail(error)
}

/// `struct iovec`: a piece of memory to read into or to write from.
#[repr(C)]
struct Piece {
    start: *mut c_void,
    len: usize,
}

/// The first piece that is not empty. To transfer only that one is a short transfer, which every caller expects.
///
/// # Safety
/// `pieces` must point to `count` pieces, unless `count` is not positive.
unsafe fn first_piece<'a>(pieces: *const Piece, count: c_int) -> Option<&'a Piece> {
    let count = usize::try_from(count).unwrap_or(0);
    // SAFETY: the caller promises that so many pieces are there.
    (0..count).map(|index| unsafe { &*pieces.add(index) }).find(|piece| piece.len != 0)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn preadv(descriptor: c_int, pieces: *const Piece, count: c_int, offset: i64) -> isize {
    type Function = unsafe extern "C" fn(c_int, *const Piece, c_int, i64) -> isize;
    if let Some(function) = platform!(c"preadv" as Function) {
        // SAFETY: the caller's arguments are passed on as they are.
        return unsafe { function(descriptor, pieces, count, offset) };
    }
    // SAFETY: the caller of preadv promises that the pieces are there and may be written to.
    unsafe { first_piece(pieces, count).map_or(0, |piece| pread(descriptor, piece.start, piece.len, offset)) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pwritev(descriptor: c_int, pieces: *const Piece, count: c_int, offset: i64) -> isize {
    type Function = unsafe extern "C" fn(c_int, *const Piece, c_int, i64) -> isize;
    if let Some(function) = platform!(c"pwritev" as Function) {
        // SAFETY: the caller's arguments are passed on as they are.
        return unsafe { function(descriptor, pieces, count, offset) };
    }
    // SAFETY: the caller of pwritev promises that the pieces are there.
    unsafe {
        first_piece(pieces, count).map_or(0, |piece| pwrite(descriptor, piece.start, piece.len, offset))
    }
}

/// Fails where the platform has no such locks: those of fcntl belong to the process instead of the open file, and a
/// program that asked for the one and got the other would lose its lock unawares.
#[unsafe(no_mangle)]
unsafe extern "C" fn flock(descriptor: c_int, operation: c_int) -> c_int {
    match platform!(c"flock" as unsafe extern "C" fn(c_int, c_int) -> c_int) {
        // SAFETY: the function takes any numbers.
        Some(function) => unsafe { function(descriptor, operation) },
        None => fail(ENOSYS),
    }
}
