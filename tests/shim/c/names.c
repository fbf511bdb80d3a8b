/* Names in directories: made, removed, moved. */
#include "power.h"
#include "shim.h"
#include "illumos/files.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static int link_at(const char *name, int from, const char *old, int to, const char *new, int flags)
{
	CHANGES(name, "\"%s\", \"%s\"", old, new);
	struct shim_at a, b;
	shim_at(&a, from, old);
	shim_at(&b, to, new);
	struct power_name source, made;
	power_name_before(&source, from, old);
	power_name_before(&made, to, new);
	bool apart = power_names_apart(&source, &made);
	int linked = apart ? -1 : linkat(a.fd, a.path, b.fd, b.path, flags & IL_AT_SYMLINK_FOLLOW ? AT_SYMLINK_FOLLOW : 0);
	power_name_after(&source, linked);
	DONE(power_name_after(&made, linked));
}

ILLUMOS(int, link, (const char *old, const char *new))
{
	return link_at("link", IL_AT_FDCWD, old, IL_AT_FDCWD, new, 0);
}

ILLUMOS(int, linkat, (int from, const char *old, int to, const char *new, int flags))
{
	return link_at("linkat", from, old, to, new, flags);
}

ILLUMOS(int, symlink, (const char *target, const char *path))
{
	CHANGES("symlink", "\"%s\", \"%s\"", target, path);
	struct power_name name;
	power_name_before(&name, IL_AT_FDCWD, path);
	DONE(power_name_after(&name, symlink(target, path)));
}

ILLUMOS(int, symlinkat, (const char *target, int fd, const char *path))
{
	CHANGES("symlinkat", "\"%s\", %d, \"%s\"", target, fd, path);
	struct shim_at at;
	shim_at(&at, fd, path);
	struct power_name name;
	power_name_before(&name, fd, path);
	DONE(power_name_after(&name, symlinkat(target, at.fd, at.path)));
}

ILLUMOS(int, unlink, (const char *path))
{
	CHANGES("unlink", "\"%s\"", path);
	struct power_name name;
	power_name_goes_before(&name, IL_AT_FDCWD, path);
	/* unlink(2) of a directory needs a privilege on illumos, and without it fails like this. */
	int result = power_name_after(&name, unlink(path));
	if (result < 0 && errno == EISDIR)
		errno = EPERM;
	DONE(result);
}

ILLUMOS(int, unlinkat, (int fd, const char *path, int flags))
{
	CHANGES("unlinkat", "%d, \"%s\", %#x", fd, path, flags);
	struct shim_at at;
	shim_at(&at, fd, path);
	struct power_name name;
	power_name_goes_before(&name, fd, path);
	int result = power_name_after(&name, unlinkat(at.fd, at.path, flags & IL_AT_REMOVEDIR ? AT_REMOVEDIR : 0));
	if (result < 0 && errno == EISDIR)
		errno = EPERM;
	DONE(result);
}

ILLUMOS(int, remove, (const char *path))
{
	CHANGES("remove", "\"%s\"", path);
	struct power_name name;
	power_name_goes_before(&name, IL_AT_FDCWD, path);
	DONE(power_name_after(&name, remove(path)));
}

/* A directory that is not empty: illumos says EEXIST, as POSIX allows (usr/src/uts/common/fs/zfs/zfs_vnops.c,
 * usr/src/uts/common/fs/ufs/ufs_dir.c). */
static int directory_error(int result)
{
	if (result < 0 && errno == ENOTEMPTY)
		errno = EEXIST;
	return result;
}

static int rename_at(int from, const char *old, int to, const char *new)
{
	struct shim_at a, b;
	shim_at(&a, from, old);
	shim_at(&b, to, new);
	struct power_name source, target;
	power_name_before(&source, from, old);
	power_name_goes_before(&target, to, new);
	bool apart = power_names_apart(&source, &target);
	return power_moved(&source, &target, apart ? -1 : directory_error(renameat(a.fd, a.path, b.fd, b.path)));
}

ILLUMOS(int, rename, (const char *old, const char *new))
{
	CHANGES("rename", "\"%s\", \"%s\"", old, new);
	DONE(rename_at(IL_AT_FDCWD, old, IL_AT_FDCWD, new));
}

ILLUMOS(int, renameat, (int from, const char *old, int to, const char *new))
{
	CHANGES("renameat", "%d, \"%s\", %d, \"%s\"", from, old, to, new);
	DONE(rename_at(from, old, to, new));
}

ILLUMOS(int, mkdir, (const char *path, unsigned mode))
{
	CHANGES("mkdir", "\"%s\", %#o", path, mode);
	struct power_name name;
	power_name_before(&name, IL_AT_FDCWD, path);
	DONE(power_name_after(&name, mkdir(path, mode)));
}

ILLUMOS(int, mkdirat, (int fd, const char *path, unsigned mode))
{
	CHANGES("mkdirat", "%d, \"%s\", %#o", fd, path, mode);
	struct shim_at at;
	shim_at(&at, fd, path);
	struct power_name name;
	power_name_before(&name, fd, path);
	DONE(power_name_after(&name, mkdirat(at.fd, at.path, mode)));
}

ILLUMOS(int, rmdir, (const char *path))
{
	CHANGES("rmdir", "\"%s\"", path);
	struct power_name name;
	power_name_goes_before(&name, IL_AT_FDCWD, path);
	DONE(power_name_after(&name, directory_error(rmdir(path))));
}

ILLUMOS(int, mkfifo, (const char *path, unsigned mode))
{
	CHANGES("mkfifo", "\"%s\", %#o", path, mode);
	struct power_name name;
	power_name_before(&name, IL_AT_FDCWD, path);
	DONE(power_name_after(&name, mkfifo(path, mode)));
}

/* illumos' device numbers have 32 bits of major and of minor number (usr/src/uts/common/sys/mkdev.h). */
ILLUMOS(unsigned, __major, (int version, uint64_t device))
{
	(void)version;
	return device >> 32;
}

ILLUMOS(unsigned, __minor, (int version, uint64_t device))
{
	(void)version;
	return (uint32_t)device;
}

ILLUMOS(uint64_t, __makedev, (int version, unsigned major_number, unsigned minor_number))
{
	(void)version;
	return (uint64_t)major_number << 32 | minor_number;
}

ILLUMOS(int, mknod, (const char *path, unsigned mode, uint64_t device))
{
	CHANGES("mknod", "\"%s\", %#o, %#lx", path, mode, device);
	struct power_name name;
	power_name_before(&name, IL_AT_FDCWD, path);
	DONE(power_name_after(&name, mknod(path, mode, makedev(device >> 32, (uint32_t)device))));
}

ILLUMOS(int, mknodat, (int fd, const char *path, unsigned mode, uint64_t device))
{
	CHANGES("mknodat", "%d, \"%s\", %#o, %#lx", fd, path, mode, device);
	struct shim_at at;
	shim_at(&at, fd, path);
	struct power_name name;
	power_name_before(&name, fd, path);
	DONE(power_name_after(&name, mknodat(at.fd, at.path, mode, makedev(device >> 32, (uint32_t)device))));
}

/* The end of a call that has found a free name. */
static int made_up(struct shim_call *call, const char *path, int result)
{
	struct power_name name;
	power_name_made(&name, IL_AT_FDCWD, path);
	return shim_leave(call, power_name_after(&name, result));
}

ILLUMOS(int, mkstemp, (char *template))
{
	CHANGES("mkstemp", "\"%s\"", template);
	return made_up(&call, template, mkstemp(template));
}

ILLUMOS(int, mkostemp, (char *template, int flags))
{
	CHANGES("mkostemp", "\"%s\", %#x", template, flags);
	return made_up(&call, template, mkostemp(template, shim_open_flags_to_linux(flags)));
}

ILLUMOS(char *, mkdtemp, (char *template))
{
	struct shim_call call;
	char *made = shim_enter(&call, true, "mkdtemp", "\"%s\"", template) ? NULL : mkdtemp(template);
	made_up(&call, template, made == NULL ? -1 : 0);
	return made;
}
