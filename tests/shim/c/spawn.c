/* posix_spawn(3C), done with fork, so that illumos programs can be started and attributes keep illumos' meaning. */
#include "shim.h"
#include "illumos/files.h"
#include "illumos/processes.h"
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct attributes {
	short flags;
	pid_t group;
	struct il_sigset mask, defaults;
};

ILLUMOS(int, posix_spawnattr_init, (struct attributes **attributes))
{
	*attributes = calloc(1, sizeof **attributes);
	return *attributes == NULL ? shim_errno_to_illumos(ENOMEM) : 0;
}

ILLUMOS(int, posix_spawnattr_destroy, (struct attributes **attributes))
{
	free(*attributes);
	*attributes = NULL;
	return 0;
}

/* The flags of 2013; a flag the platform does not know is EINVAL (usr/src/lib/libc/port/threads/spawn.c). */
#define OLD_FLAGS \
	(IL_POSIX_SPAWN_RESETIDS | IL_POSIX_SPAWN_SETPGROUP | IL_POSIX_SPAWN_SETSIGDEF | IL_POSIX_SPAWN_SETSIGMASK)
/* SETSID came with illumos 13405, 2021. */
#define SETSID_SINCE 20210100

ILLUMOS(int, posix_spawnattr_setflags, (struct attributes **attributes, short flags))
{
	int known = OLD_FLAGS | (shim_settings.platform >= SETSID_SINCE ? IL_POSIX_SPAWN_SETSID : 0);
	if (flags & ~known)
		return shim_errno_to_illumos(EINVAL);
	(*attributes)->flags = flags;
	return 0;
}

ILLUMOS(int, posix_spawnattr_setpgroup, (struct attributes **attributes, pid_t group))
{
	(*attributes)->group = group;
	return 0;
}

ILLUMOS(int, posix_spawnattr_setsigmask, (struct attributes **attributes, const struct il_sigset *mask))
{
	(*attributes)->mask = *mask;
	return 0;
}

ILLUMOS(int, posix_spawnattr_setsigdefault, (struct attributes **attributes, const struct il_sigset *defaults))
{
	(*attributes)->defaults = *defaults;
	return 0;
}

/* -- file actions -- */
struct action {
	enum { DUP2, CLOSE, OPEN, CHDIR, FCHDIR } what;
	int fd, to, flags;
	unsigned mode;
	char *path;
};
struct actions {
	size_t count;
	struct action *list;
};

ILLUMOS(int, posix_spawn_file_actions_init, (struct actions **actions))
{
	*actions = calloc(1, sizeof **actions);
	return *actions == NULL ? shim_errno_to_illumos(ENOMEM) : 0;
}

ILLUMOS(int, posix_spawn_file_actions_destroy, (struct actions **actions))
{
	for (size_t i = 0; i < (*actions)->count; i++)
		free((*actions)->list[i].path);
	free((*actions)->list);
	free(*actions);
	*actions = NULL;
	return 0;
}

static int add(struct actions *actions, struct action action, const char *path)
{
	struct action *list = reallocarray(actions->list, actions->count + 1, sizeof *list);
	if (list == NULL)
		return shim_errno_to_illumos(ENOMEM);
	actions->list = list;
	if (path != NULL && (action.path = strdup(path)) == NULL)
		return shim_errno_to_illumos(ENOMEM);
	list[actions->count++] = action;
	return 0;
}

ILLUMOS(int, posix_spawn_file_actions_adddup2, (struct actions **actions, int fd, int to))
{
	return add(*actions, (struct action){.what = DUP2, .fd = fd, .to = to}, NULL);
}

ILLUMOS(int, posix_spawn_file_actions_addclose, (struct actions **actions, int fd))
{
	return add(*actions, (struct action){.what = CLOSE, .fd = fd}, NULL);
}

ILLUMOS(int, posix_spawn_file_actions_addopen,
	(struct actions **actions, int fd, const char *path, int flags, unsigned mode))
{
	return add(*actions, (struct action){.what = OPEN, .fd = fd, .flags = flags, .mode = mode}, path);
}

ILLUMOS(int, posix_spawn_file_actions_addchdir, (struct actions **actions, const char *path))
{
	return add(*actions, (struct action){.what = CHDIR}, path);
}

ILLUMOS(int, posix_spawn_file_actions_addchdir_np, (struct actions **actions, const char *path))
{
	return il_posix_spawn_file_actions_addchdir(actions, path);
}

ILLUMOS(int, posix_spawn_file_actions_addfchdir, (struct actions **actions, int fd))
{
	return add(*actions, (struct action){.what = FCHDIR, .fd = fd}, NULL);
}

ILLUMOS(int, posix_spawn_file_actions_addfchdir_np, (struct actions **actions, int fd))
{
	return il_posix_spawn_file_actions_addfchdir(actions, fd);
}

static int perform(const struct action *action)
{
	switch (action->what) {
	case DUP2:
		/* A descriptor duplicated onto itself stays open over exec. */
		if (action->fd == action->to)
			return fcntl(action->fd, F_SETFD, 0);
		return dup2(action->fd, action->to);
	case CLOSE:
		return close(action->fd);
	case OPEN: {
		struct shim_at at;
		shim_at(&at, IL_AT_FDCWD, action->path);
		int fd = openat(at.fd, at.path, shim_open_flags_to_linux(action->flags), action->mode);
		if (fd >= 0 && fd != action->fd) {
			int copied = dup2(fd, action->fd);
			close(fd);
			return copied;
		}
		return fd;
	}
	case CHDIR:
		return chdir(action->path);
	case FCHDIR:
		return fchdir(action->fd);
	}
	return 0;
}

/* In the child; returns on failure. */
static void become(const char *file, bool search, const struct actions *actions, const struct attributes *attributes,
	char *const argv[], char *const envp[])
{
	sigset_t set;
	if (attributes != NULL) {
		short flags = attributes->flags;
		if (flags & IL_POSIX_SPAWN_SETSID && setsid() < 0)
			return;
		if (flags & IL_POSIX_SPAWN_SETPGROUP && setpgid(0, attributes->group) < 0)
			return;
		if (flags & IL_POSIX_SPAWN_RESETIDS && (setegid(getgid()) < 0 || seteuid(getuid()) < 0))
			return;
		if (flags & IL_POSIX_SPAWN_SETSIGDEF) {
			shim_sigset_to_linux(&attributes->defaults, &set);
			for (int number = 1; number < NSIG; number++)
				if (sigismember(&set, number) == 1 && number != SIGKILL && number != SIGSTOP)
					signal(number, SIG_DFL);
		}
		if (flags & IL_POSIX_SPAWN_SETSIGMASK) {
			shim_sigset_to_linux(&attributes->mask, &set);
			sigprocmask(SIG_SETMASK, &set, NULL);
		}
	}
	for (size_t i = 0; actions != NULL && i < actions->count; i++)
		if (perform(&actions->list[i]) < 0)
			return;
	if (search)
		shim_exec_search(file, argv, envp);
	else
		shim_exec(file, argv, envp);
}

static int spawn(const char *name, pid_t *process, const char *file, bool search, struct actions *const *actions,
	struct attributes *const *attributes, char *const argv[], char *const envp[])
{
	struct shim_call call;
	int report[2];
	if (shim_enter(&call, true, name, "\"%s\", %s", file, argv[0] == NULL ? "" : argv[0]) || pipe2(report, O_CLOEXEC) < 0)
		return shim_leave_error(&call, errno);
	/* The report must not be among what the file actions overwrite. */
	int in = shim_private_fd(report[0], false), out = shim_private_fd(report[1], false), error = 0;
	pid_t child = fork();
	if (child == 0) {
		become(file, search, actions == NULL ? NULL : *actions, attributes == NULL ? NULL : *attributes, argv, envp);
		error = errno;
		if (write(out, &error, sizeof error) < 0)
			_exit(126);
		_exit(127);
	}
	if (child < 0)
		error = errno;
	close(out);
	if (child > 0 && read(in, &error, sizeof error) == sizeof error) {
		waitpid(child, NULL, 0);
	} else if (child > 0) {
		shim_kill_at_end_of(&call, child);
		if (process != NULL)
			*process = child;
	}
	close(in);
	return shim_leave_error(&call, error);
}

ILLUMOS(int, posix_spawn, (pid_t *process, const char *path, struct actions *const *actions,
	struct attributes *const *attributes, char *const argv[], char *const envp[]))
{
	return spawn("posix_spawn", process, path, false, actions, attributes, argv, envp);
}

ILLUMOS(int, posix_spawnp, (pid_t *process, const char *file, struct actions *const *actions,
	struct attributes *const *attributes, char *const argv[], char *const envp[]))
{
	return spawn("posix_spawnp", process, file, true, actions, attributes, argv, envp);
}
