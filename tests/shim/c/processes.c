/* Processes: making them, waiting for them, who they are and what they may use. */
#include "shim.h"
#include "illumos/processes.h"
#include <grp.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

ILLUMOS(pid_t, fork, (void))
{
	CHANGES("fork", "%s", "");
	pid_t child = fork();
	if (child == 0)
		return 0;
	if (child > 0)
		shim_kill_at_end_of(&call, child);
	DONE(child);
}

ILLUMOS(pid_t, vfork, (void))
{
	CHANGES("vfork", "%s", "");
	/* The child would return into a frame that the parent still needs; fork does what programs rely on. */
	pid_t child = fork();
	if (child == 0)
		return 0;
	if (child > 0)
		shim_kill_at_end_of(&call, child);
	DONE(child);
}

static int status_to_illumos(int status)
{
	if (WIFSIGNALED(status))
		return (status & ~0x7f) | shim_signal_to_illumos(WTERMSIG(status));
	if (WIFSTOPPED(status))
		return shim_signal_to_illumos(WSTOPSIG(status)) << 8 | 0x7f;
	return status;
}

ILLUMOS(pid_t, waitpid, (pid_t process, int *status, int options))
{
	static const int known = IL_WUNTRACED | IL_WCONTINUED | IL_WNOHANG;
	if (options & ~known)
		shim_die("waitpid: options %#x are unknown", options & ~known);
	LOOKS("waitpid", "%d, %#x", process, options);
	int own_options = (options & IL_WUNTRACED ? WUNTRACED : 0) | (options & IL_WCONTINUED ? WCONTINUED : 0) |
		(options & IL_WNOHANG ? WNOHANG : 0);
	int own_status;
	pid_t result = waitpid(process, &own_status, own_options);
	if (result > 0 && !WIFSTOPPED(own_status))
		shim_learn_end_of(result);
	if (result > 0 && status != NULL)
		*status = status_to_illumos(own_status);
	DONE(result);
}

ILLUMOS(pid_t, wait, (int *status))
{
	return il_waitpid(-1, status, 0);
}

/* -- identity. uid_t, gid_t and pid_t are the same. -- */
ILLUMOS(int, setuid, (uid_t uid))
{
	CHANGES("setuid", "%d", uid);
	DONE(setuid(uid));
}

ILLUMOS(int, setgid, (gid_t gid))
{
	CHANGES("setgid", "%d", gid);
	DONE(setgid(gid));
}

ILLUMOS(int, setegid, (gid_t gid))
{
	CHANGES("setegid", "%d", gid);
	DONE(setegid(gid));
}

ILLUMOS(int, setgroups, (int count, const gid_t *groups))
{
	CHANGES("setgroups", "%d", count);
	DONE(setgroups(count, groups));
}

ILLUMOS(int, initgroups, (const char *name, gid_t group))
{
	CHANGES("initgroups", "\"%s\", %d", name, group);
	DONE(initgroups(name, group));
}

ILLUMOS(pid_t, setsid, (void))
{
	CHANGES("setsid", "%s", "");
	DONE(setsid());
}

ILLUMOS(int, setpgid, (pid_t process, pid_t group))
{
	CHANGES("setpgid", "%d, %d", process, group);
	DONE(setpgid(process, group));
}

/* -- limits, sys/resource.h -- */
static const struct {
	int illumos, linux_limit;
} limits[] = {
	{IL_RLIMIT_CPU, RLIMIT_CPU}, {IL_RLIMIT_FSIZE, RLIMIT_FSIZE}, {IL_RLIMIT_DATA, RLIMIT_DATA},
	{IL_RLIMIT_STACK, RLIMIT_STACK}, {IL_RLIMIT_CORE, RLIMIT_CORE}, {IL_RLIMIT_NOFILE, RLIMIT_NOFILE},
	{IL_RLIMIT_VMEM, RLIMIT_AS},
};

static int limit_to_linux(int illumos)
{
	for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
		if (limits[i].illumos == illumos)
			return limits[i].linux_limit;
	return -1;
}

struct il_rlimit {
	uint64_t current, maximum;
};

static uint64_t amount_to_illumos(rlim_t amount)
{
	return amount == RLIM_INFINITY ? IL_RLIM_INFINITY : amount;
}

static rlim_t amount_to_linux(uint64_t amount)
{
	return amount == IL_RLIM_INFINITY ? RLIM_INFINITY : amount;
}

ILLUMOS(int, getrlimit, (int resource, struct il_rlimit *to))
{
	struct rlimit limit;
	int result = getrlimit(limit_to_linux(resource), &limit);
	if (result == 0)
		*to = (struct il_rlimit){amount_to_illumos(limit.rlim_cur), amount_to_illumos(limit.rlim_max)};
	return result;
}

ILLUMOS(int, setrlimit, (int resource, const struct il_rlimit *from))
{
	CHANGES("setrlimit", "%d", resource);
	struct rlimit limit = {amount_to_linux(from->current), amount_to_linux(from->maximum)};
	/* The shim's own descriptors lie above what programs use. */
	if (resource == IL_RLIMIT_NOFILE && limit.rlim_cur < (rlim_t)shim_first_private_fd + 16)
		limit.rlim_cur = shim_first_private_fd + 16;
	DONE(setrlimit(limit_to_linux(resource), &limit));
}

ILLUMOS(void, _exit, (int status))
{
	struct shim_call call;
	shim_enter(&call, false, "_exit", "%d", status);
	shim_leave(&call, 0);
	shim_learn_nothing();
	_exit(status);
}

ILLUMOS(void, _Exit, (int status))
{
	il__exit(status);
}
