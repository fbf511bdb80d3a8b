/* The log of what is not on disk yet, by which src/power undoes it when power fails. Each record is written when its call has
 * succeeded and before the program learns of it, or is killed. */
#pragma once
#include "shim.h"
#include <sys/stat.h>

/* A file, directory or link: its number, and when it was made, since numbers are used again. All 0: nothing. */
struct power_id {
	uint64_t number, born;
};
/* What is recorded of a file before a change. */
struct power_file {
	struct power_id id;
	unsigned mode, uid, gid;
};

/* -- power.c -- */
bool power_is_on(void);
/* The number of the folder of the log in which an open file lies, or -1. */
int power_folder(int fd);
/* False, and nothing, if there is none. */
bool power_look(int fd, const char *path, int flags, struct power_file *found);
/* The folder in which removed files are kept, by the name that power_kept_name makes. */
int power_kept(void);
void power_kept_name(const struct power_id *id, char name[40]);
/* Writes a record: a line, and `size` bytes after it. */
void power_record(const void *bytes, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Opens the folder of an open directory where its file system's files are on the host's own mount, if it is mounted in the root:
 * links and renames into the folder of removed files do not lead from one mount to another. -1, and errno, if it is not. */
int power_open_source(int directory);
/* Opens a file again, to read what it holds, whatever it is open for. */
int power_open_again(int fd);

/* -- names (power-names.c): what they lead to before and after a call -- */
struct power_name {
	int folder, parent;
	struct power_id directory;
	struct power_file before;
	/* The call is the first that may take the file's name away, so that another one was made for it. */
	bool kept;
	char name[256];
};
/* A path, relative to an illumos descriptor, as it is before the call: one that may make the name, and one that may let it
 * lead to nothing or to something else. */
void power_name_before(struct power_name *name, int fd, const char *path);
void power_name_goes_before(struct power_name *name, int fd, const char *path);
/* The same for a name that the call has just made up. */
void power_name_made(struct power_name *name, int fd, const char *path);
/* The end of a call, which returns its result: records what was changed. */
long power_name_after(struct power_name *name, long result);
/* The same for rename(2), and whether the two lie in different folders, which are file systems (errno is then EXDEV). */
bool power_names_apart(const struct power_name *from, const struct power_name *to);
long power_moved(struct power_name *from, struct power_name *to, long result);

/* -- contents and attributes (power-data.c) -- */
struct power_data {
	int fd, folder;
	bool at_once, opened_here;
	struct power_id id;
	off_t offset, old_size;
	size_t length;
	char *bytes;
};
/* A write of `size` bytes, at the file's position if `offset` is negative. */
void power_write_before(struct power_data *data, int fd, size_t size, off_t offset);
void power_truncate_before(struct power_data *data, int fd, off_t size);
/* A file that is to be truncated by path, or that open(2) truncates. */
void power_truncate_path_before(struct power_data *data, int fd, const char *path, off_t size);
long power_data_after(struct power_data *data, long result);

struct power_attributes {
	int folder;
	struct power_file before;
};
/* `path` may be NULL: then it is the open file. */
void power_attributes_before(struct power_attributes *attributes, int fd, const char *path, bool follow);
long power_attributes_after(const struct power_attributes *attributes, long result);

/* fsync(2) of a file or directory has returned. */
long power_synced(int fd, long result);
void power_synced_all(void);
