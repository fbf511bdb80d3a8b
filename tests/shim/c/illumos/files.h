/* What illumos programs know of files: usr/src/uts/common/sys/{fcntl,stat,dirent,statvfs,mman}.h. */
#pragma once
#include <stdint.h>
#include <time.h>

/* open(2), sys/fcntl.h. O_CLOEXEC came in 2010, O_DIRECTORY in 2020. */
#define IL_O_ACCMODE 3
#define IL_O_NDELAY 0x4
#define IL_O_APPEND 0x8
#define IL_O_SYNC 0x10
#define IL_O_DSYNC 0x40
#define IL_O_NONBLOCK 0x80
#define IL_O_CREAT 0x100
#define IL_O_TRUNC 0x200
#define IL_O_EXCL 0x400
#define IL_O_NOCTTY 0x800
#define IL_O_LARGEFILE 0x2000
#define IL_O_RSYNC 0x8000
#define IL_O_NOFOLLOW 0x20000
#define IL_O_CLOEXEC 0x800000
#define IL_O_DIRECTORY 0x1000000

/* The *at calls, sys/fcntl.h. */
#define IL_AT_FDCWD ((int)0xffd19553)
#define IL_AT_REMOVEDIR 0x1
#define IL_AT_EACCESS 0x4
#define IL_AT_SYMLINK_NOFOLLOW 0x1000
#define IL_AT_SYMLINK_FOLLOW 0x2000

/* fcntl(2), sys/fcntl.h, the LP64 values. */
#define IL_F_DUPFD 0
#define IL_F_GETFD 1
#define IL_F_SETFD 2
#define IL_F_GETFL 3
#define IL_F_SETFL 4
#define IL_F_SETLK 6
#define IL_F_SETLKW 7
#define IL_F_DUP2FD 9
#define IL_F_GETLK 14
#define IL_F_DUPFD_CLOEXEC 37
#define IL_F_RDLCK 1
#define IL_F_WRLCK 2
#define IL_F_UNLCK 3

/* sys/file.h, for flock(3C), which came in 2015; the numbers are those of Linux. */
#define IL_LOCK_ANY 15

struct il_flock {
	int16_t type, whence;
	int64_t start, len;
	int32_t sysid, pid;
	int64_t pad[4];
};
_Static_assert(sizeof(struct il_flock) == 64, "sys/fcntl.h, struct flock");

struct il_stat {
	uint64_t dev, ino;
	uint32_t mode, nlink, uid, gid;
	uint64_t rdev;
	int64_t size;
	struct timespec atim, mtim, ctim;
	int32_t blksize, pad;
	int64_t blocks;
	char fstype[16];
};
_Static_assert(sizeof(struct il_stat) == 128, "sys/stat.h, struct stat of LP64");

/* sys/dirent.h. There is no d_type; d_name goes on for as long as d_reclen says. */
struct il_dirent {
	uint64_t ino;
	int64_t off;
	uint16_t reclen;
	char name[256 + 14];
};
#define IL_DIRENT_NAME 18

/* sys/statvfs.h */
struct il_statvfs {
	uint64_t bsize, frsize, blocks, bfree, bavail, files, ffree, favail, fsid;
	char basetype[16];
	uint64_t flag, namemax;
	char fstr[32];
};
_Static_assert(sizeof(struct il_statvfs) == 136, "sys/statvfs.h, struct statvfs of LP64");
#define IL_ST_RDONLY 1
#define IL_ST_NOSUID 2

/* utimensat(2), sys/stat.h. */
#define IL_UTIME_NOW (-1)
#define IL_UTIME_OMIT (-2)

/* mmap(2), sys/mman.h. The protection bits are those of Linux. */
#define IL_MAP_SHARED 0x1
#define IL_MAP_PRIVATE 0x2
#define IL_MAP_FIXED 0x10
#define IL_MAP_NORESERVE 0x40
#define IL_MAP_ANON 0x100
