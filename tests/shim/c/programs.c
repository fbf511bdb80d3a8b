/* Starting other programs: illumos executables by the shim again, Linux' own as they are. */
#include "shim.h"
#include "launch.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int shim_exec(const char *path, char *const argv[], char *const envp[])
{
	char **environment = shim_environment(envp);
	/* In a root folder the kernel finds the loader at the place where illumos has its own. */
	if (shim_settings.host < 0 && shim_settings.libraries != NULL && launch_is_illumos(path))
		launch(shim_settings.loader == NULL ? LAUNCH_LOADER : shim_settings.loader, shim_settings.libraries, path, argv,
			environment);
	else
		execve(path, argv, environment);
	int error = errno;
	free(environment);
	errno = error;
	return -1;
}

/* A file without a known header is given to the shell, usr/src/lib/libc/port/gen/execvp.c. */
static void exec_by_shell(const char *path, char *const argv[], char *const envp[])
{
	size_t count = 0;
	while (argv[count] != NULL)
		count++;
	char **shell = calloc(count + 3, sizeof *shell);
	if (shell == NULL)
		return;
	shell[0] = "sh";
	shell[1] = (char *)path;
	for (size_t i = 1; i < count; i++)
		shell[i + 1] = argv[i];
	shim_exec("/bin/sh", shell, envp);
	free(shell);
}

static const char *find(char *const environment[], const char *name)
{
	size_t length = strlen(name);
	for (; environment != NULL && *environment != NULL; environment++)
		if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=')
			return *environment + length + 1;
	return NULL;
}

int shim_exec_search(const char *file, char *const argv[], char *const envp[])
{
	if (strchr(file, '/') != NULL) {
		shim_exec(file, argv, envp);
		if (errno == ENOEXEC)
			exec_by_shell(file, argv, envp);
		return -1;
	}
	const char *search = find(_environ, "PATH");
	if (search == NULL)
		search = "/usr/bin:/bin";
	bool denied = false;
	for (const char *end;; search = end + 1) {
		end = strchrnul(search, ':');
		char path[PATH_MAX];
		int size = snprintf(path, sizeof path, "%.*s%s%s", (int)(end - search), search, end == search ? "" : "/", file);
		if (size < (int)sizeof path) {
			shim_exec(path, argv, envp);
			if (errno == ENOEXEC)
				exec_by_shell(path, argv, envp);
			denied |= errno == EACCES;
			if (errno != ENOENT && errno != ENOTDIR && errno != EACCES)
				return -1;
		}
		if (*end == '\0')
			break;
	}
	errno = denied ? EACCES : ENOENT;
	return -1;
}

/* A process that is to be killed after this call is killed before the other program begins: it does not come back. */
static void leave_for_good(struct shim_call *call)
{
	if (call->kill_after)
		shim_kill(call, "killed after");
}

ILLUMOS(int, execve, (const char *path, char *const argv[], char *const envp[]))
{
	CHANGES("execve", "\"%s\", %s", path, argv[0] == NULL ? "" : argv[0]);
	leave_for_good(&call);
	DONE(shim_exec(path, argv, envp));
}

ILLUMOS(int, execv, (const char *path, char *const argv[]))
{
	CHANGES("execv", "\"%s\", %s", path, argv[0] == NULL ? "" : argv[0]);
	leave_for_good(&call);
	DONE(shim_exec(path, argv, _environ));
}

ILLUMOS(int, execvp, (const char *file, char *const argv[]))
{
	CHANGES("execvp", "\"%s\", %s", file, argv[0] == NULL ? "" : argv[0]);
	leave_for_good(&call);
	DONE(shim_exec_search(file, argv, _environ));
}
