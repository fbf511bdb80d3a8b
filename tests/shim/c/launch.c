/* Linux' loader refuses files whose header says Solaris, and takes the name of the program from the file it opens. So it
 * gets a copy in memory in which that byte is 0, and the name the caller chose. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "launch.h"
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define PRIVATE_FDS 24

int launch_first_private_fd(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= 1000 + PRIVATE_FDS)
		return 1000;
	return limit.rlim_cur > 2 * PRIVATE_FDS ? limit.rlim_cur - PRIVATE_FDS : PRIVATE_FDS;
}

static bool header_is_illumos(const unsigned char *ident)
{
	return memcmp(ident, ELFMAG, SELFMAG) == 0 && ident[EI_CLASS] == ELFCLASS64 && ident[EI_OSABI] == ELFOSABI_SOLARIS;
}

bool launch_is_illumos(const char *path)
{
	unsigned char ident[EI_NIDENT];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	bool is = read(fd, ident, sizeof ident) == sizeof ident && header_is_illumos(ident);
	close(fd);
	return is;
}

/* A copy of the program in memory that the loader takes, or -1. */
static int copy(const char *path)
{
	int from = open(path, O_RDONLY | O_CLOEXEC);
	if (from < 0)
		return -1;
	int to = memfd_create("illumos-program", 0);
	char buffer[65536];
	ssize_t got = 0;
	while (to >= 0 && (got = read(from, buffer, sizeof buffer)) > 0)
		if (write(to, buffer, got) != got)
			got = -1;
	close(from);
	static const unsigned char osabi = ELFOSABI_NONE;
	if (to >= 0 && (got < 0 || pwrite(to, &osabi, 1, EI_OSABI) != 1)) {
		close(to);
		return -1;
	}
	return to;
}

int launch(const char *loader, const char *libraries, const char *path, char *const argv[], char *const environment[])
{
	char *absolute = realpath(path, NULL);
	if (absolute == NULL || access(absolute, X_OK) < 0)
		return -1;
	int fd = copy(absolute);
	if (fd < 0)
		return -1;
	size_t arguments = 0, variables = 0;
	while (argv[arguments] != NULL)
		arguments++;
	while (environment[variables] != NULL)
		variables++;
	char program[64], fd_variable[64], *name_variable;
	snprintf(program, sizeof program, "/proc/self/fd/%d", fd);
	snprintf(fd_variable, sizeof fd_variable, "ABI_SHIM_EXECUTABLE_FD=%d", fd);
	if (asprintf(&name_variable, "ABI_SHIM_EXECUTABLE=%s", absolute) < 0)
		return -1;
	char **new_argv = calloc(arguments + 8, sizeof *new_argv), **new_environment = calloc(variables + 3, sizeof *new_environment);
	if (new_argv == NULL || new_environment == NULL)
		return -1;
	size_t n = 0;
	new_argv[n++] = (char *)loader;
	new_argv[n++] = "--library-path";
	new_argv[n++] = (char *)libraries;
	new_argv[n++] = "--argv0";
	new_argv[n++] = arguments > 0 ? argv[0] : (char *)path;
	new_argv[n++] = program;
	for (size_t i = 1; i < arguments; i++)
		new_argv[n++] = argv[i];
	memcpy(new_environment, environment, variables * sizeof *new_environment);
	new_environment[variables] = fd_variable;
	new_environment[variables + 1] = name_variable;
	execve(loader, new_argv, new_environment);
	return -1;
}
