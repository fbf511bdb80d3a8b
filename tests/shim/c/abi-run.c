/* Runs an executable for illumos on Linux. It becomes the program: process number, signals and exit status are the
 * program's own.
 *
 *   abi-run PROGRAM [ARGUMENTS]            with the machine's files around it
 *   abi-run --root FOLDER PATH [ARGUMENTS] in a root folder of its own, prepared by Root of src/root.rs; PATH is in there
 */
#define _GNU_SOURCE
#include "launch.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

_Noreturn static void fail(const char *what)
{
	int error = errno;
	fprintf(stderr, "abi-run: %s: %s\n", what, strerror(error));
	exit(error == ENOENT ? 127 : 126);
}

static void set(const char *name, const char *value)
{
	if (setenv(name, value, 1) < 0)
		fail(name);
}

/* The names that programs refer to weakly appeared after 2013. Linux' loader would find glibc's, with another calling
 * convention, so the libraries exist twice: with those names, and with those names denied. */
static const char *variant(void)
{
	const char *stamp = getenv("ABI_SHIM_PLATFORM");
	return stamp != NULL && strncmp(stamp, NEW_NAMES_SINCE, 8) < 0 ? "old" : "new";
}

static void run_here(char **argv)
{
	char own[PATH_MAX], libraries[PATH_MAX + 8];
	ssize_t size = readlink("/proc/self/exe", own, sizeof own - 1);
	if (size < 0)
		fail("/proc/self/exe");
	own[size] = '\0';
	*strrchr(own, '/') = '\0';
	snprintf(libraries, sizeof libraries, "%s/%s", own, variant());
	set("ABI_SHIM_LIBRARIES", libraries);
	if (launch_is_illumos(argv[0]))
		launch(getenv("ABI_SHIM_LOADER") == NULL ? LAUNCH_LOADER : getenv("ABI_SHIM_LOADER"), libraries, argv[0], argv, environ);
	else if (access(argv[0], R_OK) == 0)
		errno = ENOEXEC;
	fail(argv[0]);
}

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	bool done = write(fd, text, strlen(text)) >= 0;
	close(fd);
	return done;
}

/* Whoever may not change the root gets a user namespace in which he may, and is root there. */
static void become_root(void)
{
	char map[64];
	unsigned uid = geteuid(), gid = getegid();
	bool done = unshare(CLONE_NEWUSER) == 0 && write_file("/proc/self/setgroups", "deny");
	snprintf(map, sizeof map, "0 %u 1", uid);
	done = done && write_file("/proc/self/uid_map", map);
	snprintf(map, sizeof map, "0 %u 1", gid);
	if (!done || !write_file("/proc/self/gid_map", map))
		fail("neither chroot nor a user namespace is allowed here");
}

static void run_in_root(const char *folder, char **argv)
{
	/* The way back out, for device files, traces and counters: the shim opens the host's paths from this descriptor. */
	int host = open("/", O_PATH | O_DIRECTORY);
	int moved = host < 0 ? -1 : fcntl(host, F_DUPFD, launch_first_private_fd());
	if (moved < 0)
		fail("the host's root");
	close(host);
	char number[16];
	snprintf(number, sizeof number, "%d", moved);
	set("ABI_SHIM_HOST_FD", number);
	set("LD_LIBRARY_PATH", "/lib/amd64");
	if (chroot(folder) < 0) {
		if (errno != EPERM)
			fail(folder);
		become_root();
		if (chroot(folder) < 0)
			fail(folder);
	}
	if (chdir("/") < 0)
		fail("/");
	execv(argv[0], argv);
	fail(argv[0]);
}

int main(int argc, char **argv)
{
	if (argc > 3 && strcmp(argv[1], "--root") == 0)
		run_in_root(argv[2], argv + 3);
	else if (argc > 1 && argv[1][0] != '-')
		run_here(argv + 1);
	fprintf(stderr, "usage: abi-run [--root FOLDER] PROGRAM [ARGUMENTS]\n");
	return 2;
}
