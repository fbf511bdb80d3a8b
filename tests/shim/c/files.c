/* Opening files, descriptors and locks; sizes, owners, modes and times. */
#include "power.h"
#include "shim.h"
#include "illumos/files.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Platforms know O_DIRECTORY since 2020-02-05 and ignore it before. */
#define O_DIRECTORY_SINCE 20200205
/* F_DUPFD_CLOEXEC came with pipe2(2) and dup3(3C), 2013-05-08. */
#define F_DUPFD_CLOEXEC_SINCE 20130508

static const struct {
	int illumos, linux_flag;
} open_flags[] = {
	{IL_O_APPEND, O_APPEND}, {IL_O_SYNC, O_SYNC}, {IL_O_RSYNC, O_SYNC}, {IL_O_DSYNC, O_DSYNC},
	{IL_O_NONBLOCK, O_NONBLOCK}, {IL_O_NDELAY, O_NONBLOCK}, {IL_O_CREAT, O_CREAT}, {IL_O_TRUNC, O_TRUNC},
	{IL_O_EXCL, O_EXCL}, {IL_O_NOCTTY, O_NOCTTY}, {IL_O_LARGEFILE, 0}, {IL_O_NOFOLLOW, O_NOFOLLOW},
	{IL_O_CLOEXEC, O_CLOEXEC}, {IL_O_DIRECTORY, O_DIRECTORY},
};
#define OPEN_FLAGS (sizeof open_flags / sizeof *open_flags)

int shim_open_flags_to_linux(int illumos)
{
	int flags = illumos & IL_O_ACCMODE, left = illumos & ~IL_O_ACCMODE;
	if (shim_settings.platform < O_DIRECTORY_SINCE)
		left &= ~IL_O_DIRECTORY;
	for (size_t i = 0; i < OPEN_FLAGS; i++)
		if (left & open_flags[i].illumos) {
			flags |= open_flags[i].linux_flag;
			left &= ~open_flags[i].illumos;
		}
	if (left != 0)
		shim_die("open: flags %#x are unknown", left);
	return flags;
}

/* What F_GETFL tells: access mode and status flags. */
static int status_flags_to_illumos(int flags)
{
	int illumos = flags & O_ACCMODE;
	if (flags & O_APPEND)
		illumos |= IL_O_APPEND;
	if (flags & O_NONBLOCK)
		illumos |= IL_O_NONBLOCK;
	if ((flags & O_SYNC) == O_SYNC)
		illumos |= IL_O_SYNC;
	else if (flags & O_DSYNC)
		illumos |= IL_O_DSYNC;
	return illumos;
}

static int open_at(const char *name, int fd, const char *path, int illumos_flags, unsigned mode)
{
	int flags = shim_open_flags_to_linux(illumos_flags);
	/* Nothing of ours writes to a disk, so that would-be writers are to be told from all others. */
	bool writes_disk = (flags & O_ACCMODE) != O_RDONLY && shim_disk_path(path);
	if (writes_disk)
		name = "disk_open";
	bool changes = writes_disk || (flags & (O_CREAT | O_TRUNC)) != 0;
	struct shim_call call;
	if (shim_enter(&call, changes, name, "%d, \"%s\", %#x, %#o", fd, path, illumos_flags, changes ? mode : 0))
		DONE(-1);
	struct shim_at at;
	shim_at(&at, fd, path);
	if (!changes || !power_is_on())
		DONE(openat(at.fd, at.path, flags, mode));
	struct power_name made;
	struct power_data cut = {.folder = -1};
	power_name_before(&made, fd, path);
	if (flags & O_TRUNC)
		power_truncate_path_before(&cut, fd, path, 0);
	int opened = openat(at.fd, at.path, flags, mode);
	power_data_after(&cut, opened);
	DONE(power_name_after(&made, opened));
}

ILLUMOS(int, open, (const char *path, int flags, unsigned mode))
{
	return open_at("open", IL_AT_FDCWD, path, flags, mode);
}

ILLUMOS(int, openat, (int fd, const char *path, int flags, unsigned mode))
{
	return open_at("openat", fd, path, flags, mode);
}

ILLUMOS(int, creat, (const char *path, unsigned mode))
{
	return open_at("creat", IL_AT_FDCWD, path, 1 | IL_O_CREAT | IL_O_TRUNC, mode);
}

static int record_lock(int fd, int illumos_command, struct il_flock *lock)
{
	static const short types[] = {[IL_F_RDLCK] = F_RDLCK, [IL_F_WRLCK] = F_WRLCK, [IL_F_UNLCK] = F_UNLCK};
	if (lock->type < IL_F_RDLCK || lock->type > IL_F_UNLCK) {
		errno = EINVAL;
		return -1;
	}
	struct flock l = {.l_type = types[lock->type], .l_whence = lock->whence, .l_start = lock->start, .l_len = lock->len};
	int command = illumos_command == IL_F_GETLK ? F_GETLK : illumos_command == IL_F_SETLK ? F_SETLK : F_SETLKW;
	int result = fcntl(fd, command, &l);
	if (result == 0 && command == F_GETLK) {
		lock->type = l.l_type == F_RDLCK ? IL_F_RDLCK : l.l_type == F_WRLCK ? IL_F_WRLCK : IL_F_UNLCK;
		if (l.l_type != F_UNLCK) {
			lock->whence = l.l_whence;
			lock->start = l.l_start;
			lock->len = l.l_len;
			lock->pid = l.l_pid;
			lock->sysid = 0;
		}
	}
	return result;
}

ILLUMOS(int, fcntl, (int fd, int command, uintptr_t argument))
{
	bool locks = command == IL_F_SETLK || command == IL_F_SETLKW;
	struct shim_call call;
	if (shim_enter(&call, locks, "fcntl", "%d, %d, %#lx", fd, command, argument))
		DONE(-1);
	switch (command) {
	case IL_F_DUPFD:
		DONE(fcntl(fd, F_DUPFD, (int)argument));
	case IL_F_GETFD:
		DONE(fcntl(fd, F_GETFD));
	case IL_F_SETFD:
		DONE(fcntl(fd, F_SETFD, (int)argument));
	case IL_F_GETFL: {
		int flags = fcntl(fd, F_GETFL);
		DONE(flags < 0 ? flags : status_flags_to_illumos(flags));
	}
	case IL_F_SETFL:
		DONE(fcntl(fd, F_SETFL, shim_open_flags_to_linux((int)argument & ~IL_O_ACCMODE)));
	case IL_F_DUP2FD:
		DONE(dup2(fd, (int)argument));
	case IL_F_SETLK:
	case IL_F_SETLKW:
	case IL_F_GETLK:
		DONE(record_lock(fd, command, (struct il_flock *)argument));
	case IL_F_DUPFD_CLOEXEC:
		if (shim_settings.platform >= F_DUPFD_CLOEXEC_SINCE)
			DONE(fcntl(fd, F_DUPFD_CLOEXEC, (int)argument));
		errno = EINVAL;
		DONE(-1);
	default:
		shim_die("fcntl: command %d is unknown", command);
	}
}

/* The four functions of lockf(3C), which usr/src/head/unistd.h numbers as Linux does. */
ILLUMOS(int, lockf, (int fd, int function, off_t size))
{
	LOOKS("lockf", "%d, %d, %ld", fd, function, size);
	DONE(lockf(fd, function, size));
}

ILLUMOS(int, flock, (int fd, int operation))
{
	if (operation & ~IL_LOCK_ANY)
		shim_die("flock: operation %#x is unknown", operation);
	LOOKS("flock", "%d, %d", fd, operation);
	DONE(flock(fd, operation));
}

ILLUMOS(int, close, (int fd))
{
	LOOKS("close", "%d", fd);
	if (fd >= shim_first_private_fd) {
		errno = EBADF;
		DONE(-1);
	}
	DONE(close(fd));
}

ILLUMOS(int, dup, (int fd))
{
	LOOKS("dup", "%d", fd);
	DONE(dup(fd));
}

ILLUMOS(int, dup2, (int from, int to))
{
	LOOKS("dup2", "%d, %d", from, to);
	DONE(dup2(from, to));
}

ILLUMOS(int, dup3, (int from, int to, int flags))
{
	LOOKS("dup3", "%d, %d, %#x", from, to, flags);
	DONE(dup3(from, to, shim_open_flags_to_linux(flags)));
}

ILLUMOS(int, pipe, (int fds[2]))
{
	LOOKS("pipe", "%s", "");
	DONE(pipe(fds));
}

ILLUMOS(int, pipe2, (int fds[2], int flags))
{
	LOOKS("pipe2", "%#x", flags);
	DONE(pipe2(fds, shim_open_flags_to_linux(flags)));
}

static int chmod_at(const char *name, int fd, const char *path, unsigned mode)
{
	CHANGES(name, "\"%s\", %#o", path, mode);
	struct shim_at at;
	shim_at(&at, fd, path);
	struct power_attributes before;
	power_attributes_before(&before, fd, path, true);
	DONE(power_attributes_after(&before, fchmodat(at.fd, at.path, mode, 0)));
}

ILLUMOS(int, chmod, (const char *path, unsigned mode))
{
	return chmod_at("chmod", IL_AT_FDCWD, path, mode);
}

ILLUMOS(int, fchmodat, (int fd, const char *path, unsigned mode, int flags))
{
	if (flags != 0)
		shim_die("fchmodat: flags %#x are unknown", flags);
	return chmod_at("fchmodat", fd, path, mode);
}

ILLUMOS(int, fchmod, (int fd, unsigned mode))
{
	CHANGES("fchmod", "%d, %#o", fd, mode);
	struct power_attributes before;
	power_attributes_before(&before, fd, NULL, true);
	DONE(power_attributes_after(&before, fchmod(fd, mode)));
}

static int chown_at(const char *name, int fd, const char *path, uid_t uid, gid_t gid, int flags)
{
	CHANGES(name, "\"%s\", %d, %d", path, uid, gid);
	struct shim_at at;
	shim_at(&at, fd, path);
	struct power_attributes before;
	power_attributes_before(&before, fd, path, !(flags & IL_AT_SYMLINK_NOFOLLOW));
	DONE(power_attributes_after(&before, fchownat(at.fd, at.path, uid, gid, flags & IL_AT_SYMLINK_NOFOLLOW ? AT_SYMLINK_NOFOLLOW : 0)));
}

ILLUMOS(int, chown, (const char *path, uid_t uid, gid_t gid))
{
	return chown_at("chown", IL_AT_FDCWD, path, uid, gid, 0);
}

ILLUMOS(int, lchown, (const char *path, uid_t uid, gid_t gid))
{
	return chown_at("lchown", IL_AT_FDCWD, path, uid, gid, IL_AT_SYMLINK_NOFOLLOW);
}

ILLUMOS(int, fchownat, (int fd, const char *path, uid_t uid, gid_t gid, int flags))
{
	return chown_at("fchownat", fd, path, uid, gid, flags);
}

ILLUMOS(int, fchown, (int fd, uid_t uid, gid_t gid))
{
	CHANGES("fchown", "%d, %d, %d", fd, uid, gid);
	struct power_attributes before;
	power_attributes_before(&before, fd, NULL, true);
	DONE(power_attributes_after(&before, fchown(fd, uid, gid)));
}

static const struct timespec *times_to_linux(const struct timespec *from, struct timespec to[2])
{
	if (from == NULL)
		return NULL;
	for (int i = 0; i < 2; i++) {
		to[i] = from[i];
		if (from[i].tv_nsec == IL_UTIME_NOW)
			to[i].tv_nsec = UTIME_NOW;
		else if (from[i].tv_nsec == IL_UTIME_OMIT)
			to[i].tv_nsec = UTIME_OMIT;
	}
	return to;
}

ILLUMOS(int, utimensat, (int fd, const char *path, const struct timespec *times, int flags))
{
	CHANGES("utimensat", "%d, \"%s\"", fd, path);
	struct timespec converted[2];
	struct shim_at at;
	shim_at(&at, fd, path);
	int linux_flags = flags & IL_AT_SYMLINK_NOFOLLOW ? AT_SYMLINK_NOFOLLOW : 0;
	DONE(utimensat(at.fd, at.path, times_to_linux(times, converted), linux_flags));
}

ILLUMOS(int, futimens, (int fd, const struct timespec *times))
{
	CHANGES("futimens", "%d", fd);
	struct timespec converted[2];
	DONE(futimens(fd, times_to_linux(times, converted)));
}

ILLUMOS(int, truncate, (const char *path, off_t size))
{
	CHANGES(shim_disk_path(path) ? "disk_write" : "truncate", "\"%s\", %ld", path, size);
	struct power_data data;
	power_truncate_path_before(&data, IL_AT_FDCWD, path, size);
	DONE(power_data_after(&data, truncate(path, size)));
}

ILLUMOS(int, ftruncate, (int fd, off_t size))
{
	CHANGES(shim_disk_open(fd) ? "disk_write" : "ftruncate", "%d, %ld", fd, size);
	struct power_data data;
	power_truncate_before(&data, fd, size);
	DONE(power_data_after(&data, ftruncate(fd, size)));
}

static int access_at(const char *name, int fd, const char *path, int mode, int flags)
{
	LOOKS(name, "\"%s\", %d", path, mode);
	struct shim_at at;
	shim_at(&at, fd, path);
	DONE(faccessat(at.fd, at.path, mode, flags & IL_AT_EACCESS ? AT_EACCESS : 0));
}

ILLUMOS(int, access, (const char *path, int mode))
{
	return access_at("access", IL_AT_FDCWD, path, mode, 0);
}

ILLUMOS(int, faccessat, (int fd, const char *path, int mode, int flags))
{
	return access_at("faccessat", fd, path, mode, flags);
}

ILLUMOS(ssize_t, readlink, (const char *path, char *buffer, size_t size))
{
	LOOKS("readlink", "\"%s\"", path);
	DONE(readlink(path, buffer, size));
}

ILLUMOS(ssize_t, readlinkat, (int fd, const char *path, char *buffer, size_t size))
{
	LOOKS("readlinkat", "%d, \"%s\"", fd, path);
	struct shim_at at;
	shim_at(&at, fd, path);
	DONE(readlinkat(at.fd, at.path, buffer, size));
}

/* Not left to glibc: a reference without a version would find its oldest realpath, which wants a buffer. */
ILLUMOS(char *, realpath, (const char *path, char *resolved))
{
	struct shim_call call;
	if (shim_enter(&call, false, "realpath", "\"%s\"", path))
		return NULL;
	char *result = realpath(path, resolved);
	shim_leave(&call, result == NULL ? -1 : 0);
	return result;
}

ILLUMOS(int, chdir, (const char *path))
{
	LOOKS("chdir", "\"%s\"", path);
	DONE(chdir(path));
}

ILLUMOS(int, fchdir, (int fd))
{
	LOOKS("fchdir", "%d", fd);
	DONE(fchdir(fd));
}

ILLUMOS(int, chroot, (const char *path))
{
	CHANGES("chroot", "\"%s\"", path);
	DONE(chroot(path));
}
