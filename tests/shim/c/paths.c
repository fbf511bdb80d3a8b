/* Where the program's paths lead. */
#include "shim.h"
#include "illumos/files.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/* The host's path of a device file of the guest, written to `at`; false if it is an ordinary path. */
static bool device(struct shim_at *at, const char *path)
{
	const char *pair = shim_settings.devices;
	size_t length = strlen(path);
	while (pair != NULL && *pair != '\0') {
		const char *end = strchrnul(pair, ':');
		if (strncmp(pair, path, length) == 0 && pair[length] == '=') {
			const char *host = pair + length + 1;
			snprintf(at->buffer, sizeof at->buffer, "%.*s", (int)(end - host), host);
			return true;
		}
		pair = *end == '\0' ? end : end + 1;
	}
	return false;
}

/* From within a root folder, the host's absolute paths begin at the descriptor of its root. */
static void from_host(struct shim_at *at, const char *path)
{
	at->fd = shim_settings.host >= 0 ? shim_settings.host : AT_FDCWD;
	while (shim_settings.host >= 0 && *path == '/')
		path++;
	at->path = path;
}

struct shim_at *shim_at(struct shim_at *at, int fd, const char *path)
{
	if (path != NULL && *path == '/' && device(at, path)) {
		from_host(at, at->buffer);
	} else {
		at->fd = fd == IL_AT_FDCWD ? AT_FDCWD : fd;
		at->path = path;
	}
	return at;
}

int shim_open_host(const char *path, int flags, int mode)
{
	struct shim_at at;
	from_host(&at, path);
	return openat(at.fd, at.path, flags, mode);
}
