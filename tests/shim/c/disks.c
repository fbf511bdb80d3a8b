/* Disks: files or block devices of the host that the program finds below /dev/dsk and /dev/rdsk. */
#include "shim.h"
#include "illumos/disks.h"
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* A line of the table that ABI_SHIM_DISKS names: NAME HOSTPATH [block=BYTES] [removable]. */
struct disk {
	char name[64], host[1024];
	unsigned block_size;
	bool removable;
	/* Its number in the table, from 0. */
	unsigned position;
};

static bool parse(char *line, struct disk *to)
{
	char *rest, *name = strtok_r(line, " ", &rest), *host = strtok_r(NULL, " ", &rest), *word;
	if (name == NULL || *name == '#')
		return false;
	if (host == NULL || strlen(name) >= sizeof to->name || strlen(host) >= sizeof to->host)
		shim_die("ABI_SHIM_DISKS: disk %s has no path, or one that is too long", name);
	strcpy(to->name, name);
	strcpy(to->host, host);
	to->block_size = 512;
	to->removable = false;
	while ((word = strtok_r(NULL, " ", &rest)) != NULL)
		if (strcmp(word, "removable") == 0)
			to->removable = true;
		else if (sscanf(word, "block=%u", &to->block_size) != 1 || to->block_size == 0)
			shim_die("ABI_SHIM_DISKS: disk %s: %s is not understood", name, word);
	return true;
}

/* Whether a disk is the one looked for: by its name, or by what lies behind it. */
static bool is_it(const struct disk *disk, const char *name, const struct stat *file)
{
	struct stat found;
	struct shim_at at;
	if (name != NULL)
		return strcmp(disk->name, name) == 0;
	shim_at_host(&at, disk->host);
	if (fstatat(at.fd, at.path, &found, 0) < 0)
		return false;
	if (S_ISBLK(file->st_mode))
		return S_ISBLK(found.st_mode) && found.st_rdev == file->st_rdev;
	return found.st_dev == file->st_dev && found.st_ino == file->st_ino;
}

/* The table is read anew each time: disks come and go. */
static bool find(const char *name, const struct stat *file, struct disk *to)
{
	if (shim_settings.disks == NULL)
		return false;
	int error = errno, fd = shim_open_host(shim_settings.disks, O_RDONLY | O_CLOEXEC, 0);
	FILE *table = fd < 0 ? NULL : fdopen(fd, "re");
	if (table == NULL)
		shim_die("ABI_SHIM_DISKS=%s: %s", shim_settings.disks, strerror(errno));
	char line[1200];
	bool found = false;
	for (to->position = 0; !found && fgets(line, sizeof line, table) != NULL;) {
		line[strcspn(line, "\n")] = '\0';
		if (parse(line, to) && !(found = is_it(to, name, file)))
			to->position++;
	}
	fclose(table);
	errno = error;
	return found;
}

static bool find_open(int fd, struct disk *to)
{
	struct stat file;
	return shim_settings.disks != NULL && fstat(fd, &file) == 0 && find(NULL, &file, to);
}

/* The part of a disk's path behind the folder, or NULL. */
static const char *name_of(const char *path, bool *raw)
{
	static const char block[] = "/dev/dsk/", character[] = "/dev/rdsk/";
	*raw = strncmp(path, character, sizeof character - 1) == 0;
	if (*raw)
		return path + sizeof character - 1;
	return strncmp(path, block, sizeof block - 1) == 0 ? path + sizeof block - 1 : NULL;
}

bool shim_disk_path(const char *path)
{
	bool raw;
	return path != NULL && name_of(path, &raw) != NULL;
}

bool shim_disk_host(const char *path, char *host, size_t size)
{
	struct disk disk;
	bool raw;
	const char *name = name_of(path, &raw);
	if (name == NULL || !find(name, NULL, &disk))
		return false;
	snprintf(host, size, "%s", disk.host);
	return true;
}

bool shim_disk_open(int fd)
{
	struct disk disk;
	return find_open(fd, &disk);
}

bool shim_disk_takes(int fd, size_t size, off_t offset)
{
	struct disk disk;
	if (!find_open(fd, &disk))
		return true;
	if (offset < 0)
		offset = lseek(fd, 0, SEEK_CUR);
	if (size % disk.block_size == 0 && offset % disk.block_size == 0)
		return true;
	errno = EINVAL;
	return false;
}

void shim_disk_stat(const char *path, struct stat *found)
{
	struct disk disk;
	bool raw = true;
	if (path != NULL && name_of(path, &raw) == NULL)
		return;
	if (!find(NULL, found, &disk))
		return;
	found->st_mode = (raw ? S_IFCHR : S_IFBLK) | 0640;
	found->st_size = found->st_blocks = 0;
	/* 64 minor numbers a disk, as cmlb has it (usr/src/uts/common/io/cmlb.c, CMLBUNIT_SHIFT 6). */
	found->st_rdev = (dev_t)(1 + disk.position) << 6;
}

/* Size and block size: of a block device as the kernel knows them. */
static int media_info(int fd, const struct disk *disk, struct il_dk_minfo *to)
{
	struct stat found;
	uint64_t size;
	int block_size = disk->block_size;
	if (fstat(fd, &found) < 0)
		return -1;
	if (!S_ISBLK(found.st_mode))
		size = found.st_size;
	else if (ioctl(fd, BLKGETSIZE64, &size) < 0 || ioctl(fd, BLKSSZGET, &block_size) < 0)
		return -1;
	*to = (struct il_dk_minfo){
		.media_type = IL_DK_FIXED_DISK, .block_size = block_size, .blocks = size / block_size};
	return 0;
}

int shim_disk_ioctl(int fd, int request, void *argument)
{
	struct disk disk;
	CHANGES("ioctl", "%d, %s", fd, request == IL_DKIOCREMOVABLE ? "DKIOCREMOVABLE" : "DKIOCGMEDIAINFO");
	if (!find_open(fd, &disk)) {
		errno = ENOTTY;
		DONE(-1);
	}
	if (request == IL_DKIOCGMEDIAINFO)
		DONE(media_info(fd, &disk, argument));
	*(int *)argument = disk.removable;
	DONE(0);
}
