/* Contents and attributes of files, for the log of what is not on disk yet. */
#include "power.h"
#include "illumos/files.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Notes what the file holds in the part that the call may overwrite or cut off. */
static void keep(struct power_data *data, int fd, off_t from, off_t to)
{
	off_t end = to < data->old_size ? to : data->old_size;
	if (end <= from)
		return;
	int again = power_open_again(fd);
	data->bytes = malloc(end - from);
	if (again < 0 || data->bytes == NULL)
		shim_die("ABI_SHIM_POWER: a file cannot be read: %s", strerror(errno));
	ssize_t got;
	while ((got = pread(again, data->bytes + data->length, end - from - data->length, from + data->length)) > 0)
		data->length += got;
	close(again);
	if (data->length != (size_t)(end - from))
		shim_die("ABI_SHIM_POWER: a file ends too early");
}

static bool begin(struct power_data *data, int fd)
{
	*data = (struct power_data){.fd = fd, .folder = -1};
	struct stat found;
	struct power_file file;
	if (!power_is_on() || fstat(fd, &found) < 0 || !S_ISREG(found.st_mode))
		return false;
	data->folder = power_folder(fd);
	if (data->folder < 0 || !power_look(fd, "", AT_EMPTY_PATH, &file))
		return false;
	data->id = file.id;
	data->old_size = found.st_size;
	return true;
}

void power_write_before(struct power_data *data, int fd, size_t size, off_t offset)
{
	int error = errno;
	if (begin(data, fd)) {
		int flags = fcntl(fd, F_GETFL);
		data->at_once = (flags & (O_SYNC | O_DSYNC)) != 0;
		data->offset = flags & O_APPEND ? data->old_size : offset >= 0 ? offset : lseek(fd, 0, SEEK_CUR);
		keep(data, fd, data->offset, data->offset + size);
	}
	errno = error;
}

void power_truncate_before(struct power_data *data, int fd, off_t size)
{
	int error = errno;
	if (begin(data, fd)) {
		data->offset = size < data->old_size ? size : data->old_size;
		keep(data, fd, data->offset, data->old_size);
	}
	errno = error;
}

void power_truncate_path_before(struct power_data *data, int fd, const char *path, off_t size)
{
	int error = errno;
	*data = (struct power_data){.folder = -1, .fd = -1};
	int own = power_is_on() ? openat(fd == IL_AT_FDCWD ? AT_FDCWD : fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
	if (own >= 0) {
		power_truncate_before(data, own, size);
		data->opened_here = data->folder >= 0;
		if (!data->opened_here)
			close(own);
	}
	errno = error;
}

long power_data_after(struct power_data *data, long result)
{
	int error = errno;
	struct stat found;
	if (data->folder >= 0 && result != -1 && fstat(data->fd, &found) == 0) {
		char id[40];
		power_kept_name(&data->id, id);
		/* Of a write that was cut short, this is too much, and harmless: what lies behind it is as it was. */
		if (data->length > 0 || found.st_size != data->old_size)
			power_record(data->bytes, data->length, "data %d %s %ld %ld %ld %zu\n", data->folder, id, data->offset,
				data->old_size, found.st_size, data->length);
		if (data->at_once)
			power_record(NULL, 0, "sync %d %s\n", data->folder, id);
	}
	if (data->opened_here)
		close(data->fd);
	free(data->bytes);
	errno = error;
	return result;
}

void power_attributes_before(struct power_attributes *attributes, int fd, const char *path, bool follow)
{
	attributes->folder = -1;
	if (!power_is_on())
		return;
	int error = errno, flags = O_PATH | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW);
	int own = path == NULL ? fd : openat(fd == IL_AT_FDCWD ? AT_FDCWD : fd, path, flags);
	if (own >= 0 && power_look(own, "", AT_EMPTY_PATH, &attributes->before))
		attributes->folder = power_folder(own);
	if (own >= 0 && path != NULL)
		close(own);
	errno = error;
}

long power_attributes_after(const struct power_attributes *attributes, long result)
{
	const struct power_file *before = &attributes->before;
	char id[40];
	if (attributes->folder >= 0 && result == 0) {
		power_kept_name(&before->id, id);
		power_record(NULL, 0, "mode %d %s %u %u %u\n", attributes->folder, id, before->mode & 07777, before->uid,
			before->gid);
	}
	return result;
}

long power_synced(int fd, long result)
{
	int error = errno;
	struct power_file file;
	int folder = power_is_on() && result == 0 ? power_folder(fd) : -1;
	if (folder >= 0 && power_look(fd, "", AT_EMPTY_PATH, &file)) {
		char id[40];
		power_kept_name(&file.id, id);
		power_record(NULL, 0, "sync %d %s\n", folder, id);
	}
	errno = error;
	return result;
}

void power_synced_all(void)
{
	if (power_is_on())
		power_record(NULL, 0, "sync-all\n");
}
