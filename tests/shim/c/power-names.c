/* Names in directories, for the log of what is not on disk yet. */
#include "power.h"
#include "illumos/files.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Takes a path apart: the folder that holds the name, opened, and the name. */
static void resolve(struct power_name *name, int fd, const char *path)
{
	name->folder = name->parent = -1;
	name->before = (struct power_file){0};
	name->kept = false;
	if (!power_is_on())
		return;
	char copy[4096];
	size_t length = strlen(path);
	while (length > 1 && path[length - 1] == '/')
		length--;
	if (length == 0 || length >= sizeof copy)
		return;
	memcpy(copy, path, length);
	copy[length] = '\0';
	char *slash = strrchr(copy, '/');
	const char *last = slash == NULL ? copy : slash + 1, *folder = slash == NULL ? "." : slash == copy ? "/" : copy;
	if (strlen(last) >= sizeof name->name)
		return;
	strcpy(name->name, last);
	if (slash != NULL && slash != copy)
		*slash = '\0';
	else if (slash == copy)
		copy[1] = '\0';
	int error = errno;
	name->parent = openat(fd == IL_AT_FDCWD ? AT_FDCWD : fd, folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (name->parent >= 0) {
		struct power_file directory;
		name->folder = power_folder(name->parent);
		power_look(name->parent, "", AT_EMPTY_PATH, &directory);
		name->directory = directory.id;
	}
	errno = error;
}

void power_name_before(struct power_name *name, int fd, const char *path)
{
	int error = errno;
	resolve(name, fd, path);
	if (name->folder >= 0)
		power_look(name->parent, name->name, AT_SYMLINK_NOFOLLOW, &name->before);
	errno = error;
}

/* Gives a file one more name, among what is kept. */
static bool keep(const struct power_name *name, const char *kept)
{
	if (linkat(name->parent, name->name, power_kept(), kept, 0) == 0)
		return true;
	if (errno != EXDEV)
		return false;
	int source = power_open_source(name->parent);
	bool done = source >= 0 && linkat(source, name->name, power_kept(), kept, 0) == 0;
	int error = errno;
	if (source >= 0)
		close(source);
	errno = error;
	return done;
}

void power_name_goes_before(struct power_name *name, int fd, const char *path)
{
	int error = errno;
	power_name_before(name, fd, path);
	if (name->before.id.number != 0 && !S_ISDIR(name->before.mode)) {
		char kept[40];
		power_kept_name(&name->before.id, kept);
		name->kept = keep(name, kept);
		if (!name->kept && errno != EEXIST)
			shim_die("ABI_SHIM_POWER: %s is not kept: %s", name->name, strerror(errno));
	}
	errno = error;
}

void power_name_made(struct power_name *name, int fd, const char *path)
{
	resolve(name, fd, path);
}

bool power_names_apart(const struct power_name *from, const struct power_name *to)
{
	if (from->folder == to->folder || from->parent < 0 || to->parent < 0)
		return false;
	errno = EXDEV;
	return true;
}

static void id_text(const struct power_id *id, char text[40])
{
	strcpy(text, "-");
	if (id->number != 0)
		power_kept_name(id, text);
}

static bool same(const struct power_id *a, const struct power_id *b)
{
	return a->number == b->number && a->born == b->born;
}

/* Records what became of a name. A directory that is no longer there by it was removed, unless it is `elsewhere`. */
static void record(const struct power_name *name, const struct power_id *elsewhere)
{
	struct power_file after;
	char directory[40], old[40], new[40];
	if (name->folder < 0)
		return;
	power_look(name->parent, name->name, AT_SYMLINK_NOFOLLOW, &after);
	if (same(&after.id, &name->before.id))
		return;
	id_text(&name->directory, directory);
	id_text(&name->before.id, old);
	id_text(&after.id, new);
	if (S_ISDIR(name->before.mode) && (elsewhere == NULL || !same(elsewhere, &name->before.id)))
		power_record(NULL, 0, "rmdir %d %s %u %u %u\n", name->folder, old, name->before.mode & 07777, name->before.uid,
			name->before.gid);
	size_t length = strlen(name->name);
	power_record(name->name, length, "entry %d %s %s %s %zu\n", name->folder, directory, old, new, length);
}

/* A file that has not lost its name needs no other. */
static void finish(struct power_name *name, bool changed)
{
	char kept[40];
	power_kept_name(&name->before.id, kept);
	if (name->kept && !changed)
		unlinkat(power_kept(), kept, 0);
	if (name->parent >= 0)
		close(name->parent);
	name->parent = -1;
}

long power_name_after(struct power_name *name, long result)
{
	int error = errno;
	if (result != -1)
		record(name, NULL);
	finish(name, result != -1);
	errno = error;
	return result;
}

long power_moved(struct power_name *from, struct power_name *to, long result)
{
	int error = errno;
	if (result != -1 && from->folder >= 0) {
		char moved[40];
		id_text(&from->before.id, moved);
		power_record(NULL, 0, "moved %d %s\n", from->folder, moved);
		record(from, &from->before.id);
		record(to, NULL);
	}
	finish(from, result != -1);
	finish(to, result != -1);
	errno = error;
	return result;
}
