/* Users and groups, read from /etc/passwd and /etc/group. Not by glibc's name service, which would load Linux
 * libraries into a root folder that has none, and would ask for users that the guest does not have. */
#include "shim.h"
#include "illumos/system.h"
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int find_user(const char *name, uid_t uid, struct passwd *found, char *buffer, size_t size)
{
	FILE *file = fopen("/etc/passwd", "re");
	if (file == NULL)
		return ENOENT;
	struct passwd *entry;
	int error;
	while ((error = fgetpwent_r(file, found, buffer, size, &entry)) == 0)
		if (name != NULL ? strcmp(entry->pw_name, name) == 0 : entry->pw_uid == uid)
			break;
	fclose(file);
	return error;
}

/* ENOENT is how the loop above ends without a match, or without a file: success, and no entry. */
static int user(const char *name, uid_t uid, struct il_passwd *to, char *buffer, size_t size, struct il_passwd **result)
{
	struct passwd own;
	*result = NULL;
	int error = find_user(name, uid, &own, buffer, size);
	if (error == ENOENT)
		return 0;
	if (error == 0) {
		static char none[] = "";
		*to = (struct il_passwd){own.pw_name, own.pw_passwd, own.pw_uid, own.pw_gid, none, none, own.pw_gecos,
			own.pw_dir, own.pw_shell};
		*result = to;
	}
	return shim_errno_to_illumos(error);
}

ILLUMOS(int, __posix_getpwnam_r,
	(const char *name, struct il_passwd *to, char *buffer, size_t size, struct il_passwd **result))
{
	return user(name, 0, to, buffer, size, result);
}

ILLUMOS(int, __posix_getpwuid_r,
	(uid_t uid, struct il_passwd *to, char *buffer, size_t size, struct il_passwd **result))
{
	return user(NULL, uid, to, buffer, size, result);
}

static struct il_passwd *user_kept(const char *name, uid_t uid)
{
	static __thread struct il_passwd entry;
	static __thread char buffer[4096];
	struct il_passwd *result;
	user(name, uid, &entry, buffer, sizeof buffer, &result);
	return result;
}

ILLUMOS(struct il_passwd *, getpwnam, (const char *name))
{
	return user_kept(name, 0);
}

ILLUMOS(struct il_passwd *, getpwuid, (uid_t uid))
{
	return user_kept(NULL, uid);
}

/* struct group is the same on both (usr/src/head/grp.h). */
static int group(const char *name, gid_t gid, struct group *to, char *buffer, size_t size, struct group **result)
{
	*result = NULL;
	FILE *file = fopen("/etc/group", "re");
	if (file == NULL)
		return 0;
	struct group *entry;
	int error;
	while ((error = fgetgrent_r(file, to, buffer, size, &entry)) == 0)
		if (name != NULL ? strcmp(entry->gr_name, name) == 0 : entry->gr_gid == gid)
			break;
	fclose(file);
	if (error == 0)
		*result = to;
	return error == ENOENT ? 0 : shim_errno_to_illumos(error);
}

ILLUMOS(int, __posix_getgrnam_r,
	(const char *name, struct group *to, char *buffer, size_t size, struct group **result))
{
	return group(name, 0, to, buffer, size, result);
}

ILLUMOS(int, __posix_getgrgid_r, (gid_t gid, struct group *to, char *buffer, size_t size, struct group **result))
{
	return group(NULL, gid, to, buffer, size, result);
}
