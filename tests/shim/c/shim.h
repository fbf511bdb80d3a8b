/* The shim's own parts, shared by its files.
 *
 * A function that illumos programs call is defined with ILLUMOS(type, name, arguments). In C its name has a prefix, so
 * that glibc's function of the same name stays usable; the build script finds the definitions by that macro and makes
 * libc.so.1 and its companions, which carry the bare names, out of jumps to them. */
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#define ILLUMOS(type, name, arguments) __attribute__((visibility("default"))) type il_##name arguments

/* -- errors (errno.c) -- */
int shim_errno_to_illumos(int linux_number);
int shim_errno_to_linux(int illumos_number);
const char *shim_errno_name(int linux_number);
/* The Linux number of an error's name or illumos number, or 0. */
int shim_errno_parse(const char *text);
/* Ends the program with a message: the shim met something that it does not know. */
_Noreturn void shim_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* -- settings (settings.c) -- */
struct shim_settings {
	/* The date of the platform played, as the number YYYYMMDD, and the stamp as it was given. */
	unsigned platform;
	const char *stamp;
	/* How much faster the program's clocks run; 1 for real time. */
	long time_scale;
	/* What the clocks showed when the first program of the run started, in nanoseconds. */
	int64_t base_monotonic, base_realtime;
	/* Where shim_at finds device files: pairs GUEST=HOST separated by ':'. */
	const char *devices;
	/* The host's file with the table of disks. */
	const char *disks;
	/* The host's files with the node name and with what the clock was set to. */
	const char *hostname, *clock;
	int zone;
	/* The machine's memory in bytes, or 0 for what it really has. */
	uint64_t memory;
	/* The host's file that is there once a program was killed at its point: then all others are dead as well. */
	const char *killed;
	/* The host's file with the log of what is not on disk yet. */
	const char *power;
	/* Where the loader is and where this library is, to start illumos programs outside a root folder of their own. */
	const char *loader, *libraries;
	/* The path by which the program was started, where the loader hides it. */
	const char *executable;
	const char *trace, *count, *kill_at, *fail_at;
	/* A descriptor of the host's root folder, or -1 outside a root folder of its own. */
	int host;
};
extern struct shim_settings shim_settings;
/* `environment` with the shim's own variables appended, which programs do not see but their children need.
 * To be freed with free(3). */
char **shim_environment(char *const *environment);
/* An address at the end of the main thread's stack. */
extern uintptr_t shim_stack_end;
/* Descriptors from here on belong to the shim. */
extern int shim_first_private_fd;
/* Moves a descriptor out of the program's way; closes the old one. */
int shim_private_fd(int fd, bool inherited);

/* -- paths (paths.c) -- */
struct shim_at {
	int fd;
	const char *path;
	char buffer[1024];
};
/* What to hand to a Linux *at call for an illumos descriptor and path; device files may live elsewhere. */
struct shim_at *shim_at(struct shim_at *at, int fd, const char *path);
/* The same for a path of the host, from within a root folder too. */
void shim_at_host(struct shim_at *at, const char *path);
/* Opens a path of the host, from within a root folder too. */
int shim_open_host(const char *path, int flags, int mode);

/* -- disks (disks.c) -- */
struct stat;
/* Whether the path is one of a disk, in the table or not. */
bool shim_disk_path(const char *path);
/* Where the host has the disk of that path; false if the table does not have it. */
bool shim_disk_host(const char *path, char *host, size_t size);
/* Whether a disk of the table is open under the descriptor. */
bool shim_disk_open(int fd);
/* Whether a disk takes a transfer of that size there, or at its current position if `offset` is negative; if not, errno is
 * set. Raw devices move whole blocks (usr/src/uts/common/io/scsi/targets/sd.c, sdread). Any other file takes everything. */
bool shim_disk_takes(int fd, size_t size, off_t offset);
/* Makes what was found of a disk's host look like its device; `path` may be NULL for an open one. */
void shim_disk_stat(const char *path, struct stat *found);
/* ioctl(2) with a request of sys/dkio.h. */
int shim_disk_ioctl(int fd, int request, void *argument);

/* -- counting, tracing, stopping (calls.c) -- */
struct shim_call {
	const char *name;
	uint64_t number;
	/* The number among the calls that change state, or 0. */
	uint64_t change;
	bool kill_after, half;
	char arguments[320];
};
/* Notes the beginning of a call. True: the call is to fail with errno, which is set. May not return at all. */
bool shim_enter(struct shim_call *call, bool changes, const char *name, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* Notes its end. A result of -1 takes its error from errno. */
long shim_leave(struct shim_call *call, long result);
/* The same for functions that return their error as a Linux number; returns illumos' number. */
int shim_leave_error(struct shim_call *call, int error);
/* Whether the program is to be killed in the middle of this call, and doing so. */
_Noreturn void shim_kill(struct shim_call *call, const char *when);

/* For a call that started a child and is to kill the program after it: that is when the child has ended and the program
 * is about to learn of it, by waiting or by ending itself. What was started is then done, whoever runs when. */
void shim_kill_at_end_of(struct shim_call *call, pid_t child);
void shim_learn_end_of(pid_t child);
void shim_learn_nothing(void);

/* For functions that return -1 and set errno. */
#define LOOKS(...) \
	struct shim_call call; \
	if (shim_enter(&call, false, __VA_ARGS__)) \
		return shim_leave(&call, -1)
#define CHANGES(...) \
	struct shim_call call; \
	if (shim_enter(&call, true, __VA_ARGS__)) \
		return shim_leave(&call, -1)
#define DONE(result) return shim_leave(&call, result)

/* -- translations used in more than one file -- */
int shim_open_flags_to_linux(int illumos); /* files.c */
int shim_signal_to_linux(int illumos);     /* signals.c: 0 where Linux has none */
int shim_signal_to_illumos(int linux_number);
struct il_sigset;
void shim_sigset_to_linux(const struct il_sigset *from, void *to);
void shim_sigset_to_illumos(const void *from, struct il_sigset *to);
clockid_t shim_clock_to_linux(int illumos); /* time.c: -1 for unknown clocks */
/* A duration or a point in time of the program, in real time. */
struct timespec shim_real_duration(const struct timespec *t);
struct timespec shim_real_time(clockid_t linux_clock, const struct timespec *t);

/* What a clock of the program shows, in nanoseconds, had the program not set it. */
int64_t shim_now(clockid_t linux_clock);
/* What the program's real-time clock shows besides, in nanoseconds (time-of-day.c). */
int64_t shim_clock_correction(void);

/* -- programs (programs.c) -- */
/* execve(2) with illumos programs started as the setting demands. Returns only on failure. */
int shim_exec(const char *path, char *const argv[], char *const envp[]);
int shim_exec_search(const char *file, char *const argv[], char *const envp[]);
extern char **_environ __attribute__((weak));
