/* Where the program's paths lead. */
#include "shim.h"
#include "illumos/files.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/* Where the host has a device file of the guest, or a file in a folder of such, written to `at`; false if `path` is an
 * ordinary one. */
static bool device(struct shim_at *at, const char *path)
{
	for (const char *pair = shim_settings.devices, *end; pair != NULL && *pair != '\0'; pair = *end == '\0' ? end : end + 1) {
		end = strchrnul(pair, ':');
		const char *equals = memchr(pair, '=', end - pair);
		if (equals == NULL)
			shim_die("ABI_SHIM_DEVICES: %.*s is not GUEST=HOST", (int)(end - pair), pair);
		size_t length = equals - pair;
		const char *rest = path + length;
		if (strncmp(pair, path, length) == 0 && (*rest == '\0' || *rest == '/')) {
			snprintf(at->buffer, sizeof at->buffer, "%.*s%s", (int)(end - equals - 1), equals + 1, rest);
			return true;
		}
	}
	return shim_disk_host(path, at->buffer, sizeof at->buffer);
}

/* From within a root folder, the host's absolute paths begin at the descriptor of its root. */
void shim_at_host(struct shim_at *at, const char *path)
{
	at->fd = shim_settings.host >= 0 ? shim_settings.host : AT_FDCWD;
	while (shim_settings.host >= 0 && *path == '/')
		path++;
	at->path = path;
}

struct shim_at *shim_at(struct shim_at *at, int fd, const char *path)
{
	if (path != NULL && *path == '/' && device(at, path)) {
		shim_at_host(at, at->buffer);
	} else {
		at->fd = fd == IL_AT_FDCWD ? AT_FDCWD : fd;
		at->path = path;
	}
	return at;
}

int shim_open_host(const char *path, int flags, int mode)
{
	struct shim_at at;
	shim_at_host(&at, path);
	return openat(at.fd, at.path, flags, mode);
}
