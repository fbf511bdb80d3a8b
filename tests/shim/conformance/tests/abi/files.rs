//! Files, directories, descriptors, memory.

use std::ffi::CStr;
use std::os::unix::ffi::OsStrExt;

use nix::libc;

use crate::{Folder, outcome, zeroed};

#[test]
fn errors_have_illumos_numbers() {
    let folder = Folder::new("errors");
    let file = folder.write("file", b"x");
    std::os::unix::fs::symlink("loop", folder.0.join("loop")).unwrap();
    std::fs::create_dir(folder.0.join("full")).unwrap();
    folder.write("full/file", b"");
    let long = folder.path(&"n".repeat(300));
    // SAFETY: all paths are terminated strings.
    unsafe {
        assert_eq!(outcome(libc::open(folder.path("none").as_ptr(), libc::O_RDONLY)), Err(libc::ENOENT));
        assert_eq!(outcome(libc::open(folder.path("loop").as_ptr(), libc::O_RDONLY)), Err(libc::ELOOP));
        assert_eq!(outcome(libc::open(long.as_ptr(), libc::O_RDONLY)), Err(libc::ENAMETOOLONG));
        assert_eq!(outcome(libc::open(folder.path("file/x").as_ptr(), libc::O_RDONLY)), Err(libc::ENOTDIR));
        let exclusive = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL;
        assert_eq!(outcome(libc::open(file.as_ptr(), exclusive, 0o600)), Err(libc::EEXIST));
        // A directory that is not empty exists, for illumos; to unlink one is not permitted.
        assert_eq!(outcome(libc::rmdir(folder.path("full").as_ptr())), Err(libc::EEXIST));
        assert_eq!(outcome(libc::unlink(folder.path("full").as_ptr())), Err(libc::EPERM));
        assert_eq!(outcome(libc::close(500)), Err(libc::EBADF));
        assert_eq!(outcome(libc::lseek(libc::STDIN_FILENO, 0, 99)), Err(libc::EINVAL));
    }
}

#[test]
fn errno_can_be_written() {
    nix::errno::Errno::set_raw(libc::ECONNREFUSED);
    assert_eq!(nix::errno::Errno::last_raw(), libc::ECONNREFUSED);
    assert_eq!(std::io::Error::last_os_error().kind(), std::io::ErrorKind::ConnectionRefused);
    nix::errno::Errno::clear();
    assert_eq!(nix::errno::Errno::last_raw(), 0);
}

#[test]
fn stat_tells_what_was_set() {
    let folder = Folder::new("stat");
    let file = folder.write("file", &[b'x'; 1234]);
    let times = [
        libc::timespec { tv_sec: 1_000_000_000, tv_nsec: 7 },
        libc::timespec { tv_sec: 1_234_567_890, tv_nsec: 987_654_321 },
    ];
    let mut seen: libc::stat = zeroed();
    // SAFETY: pointers to live values.
    unsafe {
        assert_eq!(libc::utimensat(libc::AT_FDCWD, file.as_ptr(), times.as_ptr(), 0), 0);
        assert_eq!(libc::chmod(file.as_ptr(), 0o4751), 0);
        assert_eq!(libc::link(file.as_ptr(), folder.path("second").as_ptr()), 0);
        assert_eq!(libc::stat(file.as_ptr(), &raw mut seen), 0);
    }
    assert_eq!(seen.st_mode, libc::S_IFREG | 0o4751);
    assert_eq!((seen.st_size, seen.st_nlink), (1234, 2));
    assert_eq!((seen.st_atime, seen.st_atime_nsec), (1_000_000_000, 7));
    assert_eq!((seen.st_mtime, seen.st_mtime_nsec), (1_234_567_890, 987_654_321));
    assert!(seen.st_blksize >= 512);
    assert_eq!(seen.st_fstype[..4], [b'z', b'f', b's', 0].map(|byte| byte as i8));

    // One time kept, the other set to now.
    let times = [
        libc::timespec { tv_sec: 0, tv_nsec: libc::UTIME_OMIT },
        libc::timespec { tv_sec: 0, tv_nsec: libc::UTIME_NOW },
    ];
    // SAFETY: as above.
    unsafe {
        assert_eq!(libc::utimensat(libc::AT_FDCWD, file.as_ptr(), times.as_ptr(), 0), 0);
        assert_eq!(libc::stat(file.as_ptr(), &raw mut seen), 0);
    }
    assert_eq!((seen.st_atime, seen.st_atime_nsec), (1_000_000_000, 7));
    assert!(seen.st_mtime > 1_600_000_000);
}

#[test]
fn links_are_followed_or_not() {
    let folder = Folder::new("links");
    folder.write("file", b"x");
    std::os::unix::fs::symlink("file", folder.0.join("link")).unwrap();
    let link = folder.path("link");
    let kind = |flags| {
        let mut seen: libc::stat = zeroed();
        // SAFETY: pointers to live values.
        assert_eq!(unsafe { libc::fstatat(libc::AT_FDCWD, link.as_ptr(), &raw mut seen, flags) }, 0);
        seen.st_mode & libc::S_IFMT
    };
    assert_eq!(kind(0), libc::S_IFREG);
    assert_eq!(kind(libc::AT_SYMLINK_NOFOLLOW), libc::S_IFLNK);
}

#[test]
fn devices_have_32_bits_of_either_number() {
    let mut seen: libc::stat = zeroed();
    // SAFETY: pointers to live values.
    assert_eq!(unsafe { libc::stat(c"/dev/null".as_ptr(), &raw mut seen) }, 0);
    assert_eq!(seen.st_mode & libc::S_IFMT, libc::S_IFCHR);
    // SAFETY: arithmetic.
    unsafe {
        assert_eq!(libc::makedev(libc::major(seen.st_rdev), libc::minor(seen.st_rdev)), seen.st_rdev);
        assert_eq!((libc::major(seen.st_rdev), libc::minor(seen.st_rdev)), (1, 3));
    }
}

#[test]
fn directory_entries_hold_any_name() {
    let folder = Folder::new("entries");
    let long = "l".repeat(255);
    for name in ["a", "bc", &long] {
        folder.write(name, b"");
    }
    let mut names = Vec::new();
    // SAFETY: the stream is open, and an entry is read before the next call.
    unsafe {
        let stream = libc::opendir(folder.path("").as_ptr());
        loop {
            let entry = libc::readdir(stream);
            if entry.is_null() {
                break;
            }
            let name = CStr::from_ptr((&raw const (*entry).d_name).cast());
            // The length of a record: what comes before the name, the name with its end, rounded up to 8.
            let length = 18 + name.to_bytes().len() + 1;
            assert_eq!(usize::from((*entry).d_reclen), length.next_multiple_of(8));
            let mut seen: libc::stat = zeroed();
            assert_eq!(
                libc::fstatat(libc::dirfd(stream), name.as_ptr(), &raw mut seen, libc::AT_SYMLINK_NOFOLLOW),
                0
            );
            if name != c".." {
                assert_eq!((*entry).d_ino, seen.st_ino);
            }
            names.push(name.to_str().unwrap().to_owned());
        }
        assert_eq!(libc::closedir(stream), 0);
    }
    names.sort();
    assert_eq!(names, [".", "..", "a", "bc", &long]);
}

#[test]
fn descriptors_tell_their_flags() {
    let folder = Folder::new("flags");
    let file = folder.write("file", b"");
    // SAFETY: plain calls on a path and a descriptor of this test.
    unsafe {
        let fd =
            libc::open(file.as_ptr(), libc::O_RDWR | libc::O_APPEND | libc::O_NONBLOCK | libc::O_CLOEXEC);
        assert!(fd >= 0);
        assert_eq!(libc::fcntl(fd, libc::F_GETFL), libc::O_RDWR | libc::O_APPEND | libc::O_NONBLOCK);
        assert_eq!(libc::fcntl(fd, libc::F_GETFD), libc::FD_CLOEXEC);
        assert_eq!(libc::fcntl(fd, libc::F_SETFL, libc::O_APPEND), 0);
        assert_eq!(libc::fcntl(fd, libc::F_GETFL), libc::O_RDWR | libc::O_APPEND);
        let copy = libc::fcntl(fd, libc::F_DUPFD, 100);
        assert_eq!((copy, libc::fcntl(copy, libc::F_GETFD)), (100, 0));
        assert_eq!(libc::fcntl(fd, libc::F_DUP2FD, 101), 101);
        for fd in [fd, copy, 101] {
            assert_eq!(libc::close(fd), 0);
        }
    }
}

#[test]
fn record_locks_keep_processes_apart() {
    let folder = Folder::new("locks");
    let path = folder.write("file", &[0; 100]);
    let lock = |kind: libc::c_short, start, len| {
        let mut lock: libc::flock = zeroed();
        (lock.l_type, lock.l_whence, lock.l_start, lock.l_len) = (kind, libc::SEEK_SET as i16, start, len);
        lock
    };
    // SAFETY: the child only makes system calls before it ends.
    unsafe {
        let fd = libc::open(path.as_ptr(), libc::O_RDWR);
        assert_eq!(libc::fcntl(fd, libc::F_SETLK, &raw mut *Box::new(lock(libc::F_WRLCK, 10, 20))), 0);
        let parent = libc::getpid();
        let child = libc::fork();
        if child == 0 {
            let mut asked = lock(libc::F_RDLCK, 0, 0);
            let answered = libc::fcntl(fd, libc::F_GETLK, &raw mut asked) == 0;
            let right = asked.l_type == libc::F_WRLCK
                && (asked.l_start, asked.l_len, asked.l_pid) == (10, 20, parent)
                && asked.l_sysid == 0;
            let mut refused = lock(libc::F_WRLCK, 15, 1);
            let held = outcome(libc::fcntl(fd, libc::F_SETLK, &raw mut refused)) == Err(libc::EAGAIN);
            let mut free = lock(libc::F_WRLCK, 30, 0);
            let elsewhere = libc::fcntl(fd, libc::F_SETLK, &raw mut free) == 0;
            let mut none = lock(libc::F_WRLCK, 0, 5);
            let unlocked = libc::fcntl(fd, libc::F_GETLK, &raw mut none) == 0 && none.l_type == libc::F_UNLCK;
            libc::_exit(i32::from(!(answered && right && held && elsewhere && unlocked)));
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
        assert_eq!(status, 0);
        assert_eq!(libc::close(fd), 0);
    }
}

#[test]
fn memory_is_mapped_by_illumos_flags() {
    let folder = Folder::new("memory");
    let path = folder.write("file", b"before");
    // SAFETY: the mappings are used within their size and given back.
    unsafe {
        let both = libc::PROT_READ | libc::PROT_WRITE;
        let own = libc::mmap(std::ptr::null_mut(), 8192, both, libc::MAP_PRIVATE | libc::MAP_ANON, -1, 0);
        assert_ne!(own, libc::MAP_FAILED);
        assert_eq!(*own.cast::<u8>(), 0);
        assert_eq!(libc::munmap(own, 8192), 0);
        let fd = libc::open(path.as_ptr(), libc::O_RDWR);
        let shared = libc::mmap(std::ptr::null_mut(), 6, both, libc::MAP_SHARED, fd, 0);
        assert_ne!(shared, libc::MAP_FAILED);
        std::ptr::copy_nonoverlapping(b"after!".as_ptr(), shared.cast(), 6);
        assert_eq!(libc::msync(shared, 6, libc::MS_SYNC), 0);
        assert_eq!(libc::munmap(shared, 6), 0);
        assert_eq!(libc::close(fd), 0);
    }
    assert_eq!(std::fs::read(std::ffi::OsStr::from_bytes(path.to_bytes())).unwrap(), b"after!");
}

#[test]
fn file_systems_have_a_size() {
    let mut seen: libc::statvfs = zeroed();
    // SAFETY: pointers to live values.
    assert_eq!(unsafe { libc::statvfs(c"/".as_ptr(), &raw mut seen) }, 0);
    assert!(seen.f_frsize >= 512 && seen.f_blocks > 0 && seen.f_blocks >= seen.f_bfree);
    assert_eq!(seen.f_namemax, 255);
}
