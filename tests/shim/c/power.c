/* The log of what is not on disk yet: its folders, and how a record is written. */
#include "power.h"
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define MOST_FOLDERS 16

static int log_file = -1, kept = -1;
static char table[1024], *folders[MOST_FOLDERS];
static int folder_count;

/* The log begins with lines that src/power writes: "root HOSTPATH", then "folder KIND PATH" for each folder. */
static void read_folders(int fd)
{
	FILE *header = fdopen(fd, "r");
	char line[1200], path[1024];
	while (header != NULL && fgets(line, sizeof line, header) != NULL) {
		if (strncmp(line, "root ", 5) == 0)
			continue;
		if (sscanf(line, "folder %*s %1023[^\n]", path) != 1)
			break;
		if (folder_count == MOST_FOLDERS || (folders[folder_count++] = strdup(path)) == NULL)
			shim_die("ABI_SHIM_POWER: too many folders");
	}
	if (header == NULL || folder_count == 0)
		shim_die("ABI_SHIM_POWER: the log has no folders");
	fclose(header);
}

__attribute__((constructor(103))) static void open_log(void)
{
	const char *path = shim_settings.power;
	if (path == NULL)
		return;
	char folder[1024];
	snprintf(folder, sizeof folder, "%s.kept", path);
	snprintf(table, sizeof table, "%s.mounts", path);
	int header = shim_open_host(path, O_RDONLY | O_CLOEXEC, 0);
	int opened = shim_open_host(path, O_WRONLY | O_APPEND | O_CLOEXEC, 0);
	int keep = shim_open_host(folder, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	if (header < 0 || opened < 0 || keep < 0)
		shim_die("ABI_SHIM_POWER=%s: %s", path, strerror(errno));
	read_folders(header);
	log_file = shim_private_fd(opened, false);
	kept = shim_private_fd(keep, false);
	errno = 0;
}

bool power_is_on(void)
{
	return log_file >= 0;
}

int power_kept(void)
{
	return kept;
}

/* A link of the host's /proc to what is open, which a root folder of its own does not have. */
static void descriptor_path(int fd, char path[40])
{
	snprintf(path, 40, "/proc/self/fd/%d", fd);
}

/* The path of what is open, as programs see it. */
static bool seen_path(int fd, char path[4096])
{
	char link[40];
	struct shim_at at;
	descriptor_path(fd, link);
	shim_at_host(&at, link);
	ssize_t size = readlinkat(at.fd, at.path, path, 4095);
	path[size < 0 ? 0 : size] = '\0';
	return size > 0 && *path == '/';
}

/* Whether a path is a folder, or below it. "/" is above everything. */
static bool is_below(const char *path, const char *folder, size_t length)
{
	return length == 1 || (strncmp(path, folder, length) == 0 && (path[length] == '/' || path[length] == '\0'));
}

int power_folder(int fd)
{
	char path[4096];
	if (!seen_path(fd, path))
		return -1;
	int found = -1;
	size_t longest = 0;
	for (int i = 0; i < folder_count; i++) {
		size_t length = strlen(folders[i]);
		if (is_below(path, folders[i], length) && length > longest) {
			longest = length;
			found = i;
		}
	}
	return found;
}

int power_open_source(int directory)
{
	char path[4096], line[4096], source[8192];
	*source = '\0';
	int fd = shim_open_host(table, O_RDONLY | O_CLOEXEC, 0);
	FILE *mounts = fd < 0 ? NULL : fdopen(fd, "r");
	if (mounts != NULL && seen_path(directory, path)) {
		/* Mounts are in the order in which they were made: the last that has the path shows its files. */
		while (fgets(line, sizeof line, mounts) != NULL) {
			line[strcspn(line, "\n")] = '\0';
			char *tab = strchr(line, '\t');
			if (tab != NULL && is_below(path, line, tab - line))
				snprintf(source, sizeof source, "%s%s", tab + 1, path + (tab - line == 1 ? 0 : tab - line));
		}
	}
	if (mounts != NULL)
		fclose(mounts);
	if (*source == '\0') {
		errno = EXDEV;
		return -1;
	}
	return shim_open_host(source, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
}

bool power_look(int fd, const char *path, int flags, struct power_file *found)
{
	struct statx s;
	*found = (struct power_file){0};
	if (statx(fd, path, flags, STATX_BASIC_STATS | STATX_BTIME, &s) < 0)
		return false;
	found->id.number = s.stx_ino;
	if (s.stx_mask & STATX_BTIME)
		found->id.born = s.stx_btime.tv_sec * 1000000000ll + s.stx_btime.tv_nsec;
	found->mode = s.stx_mode;
	found->uid = s.stx_uid;
	found->gid = s.stx_gid;
	return true;
}

void power_kept_name(const struct power_id *id, char name[40])
{
	snprintf(name, 40, "%lx.%lx", id->number, id->born);
}

void power_record(const void *bytes, size_t size, const char *format, ...)
{
	char line[256];
	va_list arguments;
	va_start(arguments, format);
	int length = vsnprintf(line, sizeof line, format, arguments);
	va_end(arguments);
	struct iovec pieces[] = {{line, length}, {(void *)bytes, size}, {"\n", size == 0 ? 0 : 1}};
	ssize_t whole = length + size + pieces[2].iov_len;
	if (writev(log_file, pieces, 3) != whole)
		shim_die("ABI_SHIM_POWER: a record is not written: %s", strerror(errno));
}

int power_open_again(int fd)
{
	char link[40];
	descriptor_path(fd, link);
	return shim_open_host(link, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
}
