/* What files are: stat, directories, file systems. */
#include "shim.h"
#include "illumos/files.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static uint64_t device_to_illumos(dev_t device)
{
	return (uint64_t)major(device) << 32 | minor(device);
}

static int stat_to_illumos(int result, const struct stat *from, struct il_stat *to)
{
	if (result < 0)
		return result;
	/* The bits of st_mode are the same (usr/src/uts/common/sys/stat.h). Everything is on ZFS, as in most guests. */
	*to = (struct il_stat){
		.dev = device_to_illumos(from->st_dev),
		.ino = from->st_ino,
		.mode = from->st_mode,
		.nlink = from->st_nlink,
		.uid = from->st_uid,
		.gid = from->st_gid,
		.rdev = device_to_illumos(from->st_rdev),
		.size = from->st_size,
		.atim = from->st_atim,
		.mtim = from->st_mtim,
		.ctim = from->st_ctim,
		.blksize = from->st_blksize,
		.blocks = from->st_blocks,
		.fstype = "zfs",
	};
	return result;
}

static int stat_open(int fd, struct stat *found, struct il_stat *to)
{
	int result = fstat(fd, found);
	if (result == 0)
		shim_disk_stat(NULL, found);
	return stat_to_illumos(result, found, to);
}

static int stat_at(const char *name, int fd, const char *path, struct il_stat *to, int flags)
{
	LOOKS(name, "%d, \"%s\", %#x", fd, path, flags);
	if (flags & ~IL_AT_SYMLINK_NOFOLLOW)
		shim_die("%s: flags %#x are unknown", name, flags);
	struct shim_at at;
	shim_at(&at, fd, path);
	struct stat found;
	/* With no path, fstatat(2) is fstat(2). */
	if (path == NULL)
		DONE(stat_open(fd, &found, to));
	if (flags & IL_AT_SYMLINK_NOFOLLOW) {
		/* Names of disks are links to what lies below /devices. */
		if (shim_disk_path(path))
			at = (struct shim_at){.fd = AT_FDCWD, .path = path};
		DONE(stat_to_illumos(fstatat(at.fd, at.path, &found, AT_SYMLINK_NOFOLLOW), &found, to));
	}
	int result = fstatat(at.fd, at.path, &found, 0);
	if (result == 0 && shim_disk_path(path))
		shim_disk_stat(path, &found);
	DONE(stat_to_illumos(result, &found, to));
}

ILLUMOS(int, stat, (const char *path, struct il_stat *to))
{
	return stat_at("stat", IL_AT_FDCWD, path, to, 0);
}

ILLUMOS(int, lstat, (const char *path, struct il_stat *to))
{
	return stat_at("lstat", IL_AT_FDCWD, path, to, IL_AT_SYMLINK_NOFOLLOW);
}

ILLUMOS(int, fstatat, (int fd, const char *path, struct il_stat *to, int flags))
{
	return stat_at("fstatat", fd, path, to, flags);
}

ILLUMOS(int, fstat, (int fd, struct il_stat *to))
{
	LOOKS("fstat", "%d", fd);
	struct stat found;
	DONE(stat_open(fd, &found, to));
}

/* -- directories -- */

/* illumos' DIR begins with its descriptor, but programs only see the pointer; glibc's will do. */
ILLUMOS(DIR *, opendir, (const char *path))
{
	struct shim_call call;
	DIR *opened = shim_enter(&call, false, "opendir", "\"%s\"", path) ? NULL : opendir(path);
	shim_leave(&call, opened == NULL ? -1 : 0);
	return opened;
}

ILLUMOS(DIR *, fdopendir, (int fd))
{
	struct shim_call call;
	DIR *opened = shim_enter(&call, false, "fdopendir", "%d", fd) ? NULL : fdopendir(fd);
	shim_leave(&call, opened == NULL ? -1 : 0);
	return opened;
}

static void dirent_to_illumos(const struct dirent *from, struct il_dirent *to)
{
	size_t length = strlen(from->d_name);
	to->ino = from->d_ino;
	to->off = from->d_off;
	to->reclen = (IL_DIRENT_NAME + length + 1 + 7) & ~7u;
	memset(to->name, 0, sizeof to->name);
	memcpy(to->name, from->d_name, length);
}

ILLUMOS(struct il_dirent *, readdir, (DIR *directory))
{
	/* Valid until the thread's next call, which is a little less than readdir(3C) promises and enough for one
	 * directory at a time; std copies the entry at once. */
	static __thread struct il_dirent entry;
	const struct dirent *found = readdir(directory);
	if (found == NULL)
		return NULL;
	dirent_to_illumos(found, &entry);
	return &entry;
}

ILLUMOS(int, closedir, (DIR *directory))
{
	LOOKS("closedir", "%d", dirfd(directory));
	DONE(closedir(directory));
}

/* -- file systems -- */
static int statvfs_to_illumos(int result, const struct statvfs *from, struct il_statvfs *to)
{
	if (result < 0)
		return result;
	*to = (struct il_statvfs){
		.bsize = from->f_bsize,
		.frsize = from->f_frsize,
		.blocks = from->f_blocks,
		.bfree = from->f_bfree,
		.bavail = from->f_bavail,
		.files = from->f_files,
		.ffree = from->f_ffree,
		.favail = from->f_favail,
		.fsid = from->f_fsid,
		.basetype = "zfs",
		.flag = (from->f_flag & ST_RDONLY ? IL_ST_RDONLY : 0) | (from->f_flag & ST_NOSUID ? IL_ST_NOSUID : 0),
		.namemax = from->f_namemax,
	};
	return result;
}

ILLUMOS(int, statvfs, (const char *path, struct il_statvfs *to))
{
	LOOKS("statvfs", "\"%s\"", path);
	struct statvfs found;
	DONE(statvfs_to_illumos(statvfs(path, &found), &found, to));
}

ILLUMOS(int, fstatvfs, (int fd, struct il_statvfs *to))
{
	LOOKS("fstatvfs", "%d", fd);
	struct statvfs found;
	DONE(statvfs_to_illumos(fstatvfs(fd, &found), &found, to));
}
