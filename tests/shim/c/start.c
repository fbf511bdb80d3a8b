/* What an illumos program needs from libc at its start and end, and the functions it looks up by name. */
#include "shim.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

/* usr/src/lib/crt/common/common-crt.c calls these two; the loader's exit function is the same convention on Linux. */
extern int __cxa_atexit(void (*function)(void *), void *argument, void *object);

ILLUMOS(int, atexit, (void (*function)(void)))
{
	return __cxa_atexit((void (*)(void *))(void *)function, NULL, NULL);
}

ILLUMOS(void, __fpstart, (void))
{
}

ILLUMOS(const char *, getexecname, (void))
{
	static char path[PATH_MAX];
	if (shim_settings.executable != NULL)
		return shim_settings.executable;
	const char *started = (const char *)getauxval(AT_EXECFN);
	return started == NULL ? NULL : realpath(started, path);
}

/* -- the environment: the program's own variable _environ is the truth (usr/src/lib/libc/port/gen/getenv.c) -- */
ILLUMOS(char *, getenv, (const char *name))
{
	size_t length = strlen(name);
	for (char **variable = _environ; variable != NULL && *variable != NULL; variable++)
		if (strncmp(*variable, name, length) == 0 && (*variable)[length] == '=')
			return *variable + length + 1;
	return NULL;
}

/* glibc keeps the list; both variables then point to it. */
extern char **__environ;

ILLUMOS(int, setenv, (const char *name, const char *value, int overwrite))
{
	__environ = _environ;
	int result = setenv(name, value, overwrite);
	_environ = __environ;
	return result;
}

ILLUMOS(int, unsetenv, (const char *name))
{
	__environ = _environ;
	int result = unsetenv(name);
	_environ = __environ;
	return result;
}

ILLUMOS(int, putenv, (char *variable))
{
	__environ = _environ;
	int result = putenv(variable);
	_environ = __environ;
	return result;
}

/* -- dlsym(3C). The table is made by the build script: every name of the list that guest-rt links by, sorted. -- */
struct shim_name {
	const char *name;
	/* The day from which platforms have it, as YYYYMMDD, or 0 if it always was there. */
	unsigned since;
	void *function;
};
extern const struct shim_name shim_names[];
extern const size_t shim_name_count;

static int compare(const void *name, const void *entry)
{
	return strcmp(name, ((const struct shim_name *)entry)->name);
}

ILLUMOS(void *, dlsym, (void *handle, const char *name))
{
	/* RTLD_NEXT -1, RTLD_DEFAULT -2, RTLD_SELF -3, RTLD_PROBE -4 (usr/src/head/dlfcn.h): one answer for all. */
	if ((intptr_t)handle > -1 || (intptr_t)handle < -4)
		shim_die("dlsym: handles of libraries are not implemented (asked for %s)", name);
	const struct shim_name *found = bsearch(name, shim_names, shim_name_count, sizeof *shim_names, compare);
	bool there = found != NULL && found->since <= shim_settings.platform;
	struct shim_call call;
	shim_enter(&call, false, "dlsym", "\"%s\"", name);
	shim_leave(&call, there);
	return there ? found->function : NULL;
}

/* dlinfo(3C): std asks it which files a backtrace's functions are in, and does without where it fails. */
ILLUMOS(int, dlinfo, (void *handle, int request, void *to))
{
	(void)handle;
	(void)to;
	LOOKS("dlinfo", "%d", request);
	DONE(-1);
}
