/* Counts and traces the calls of a program, makes one of them fail, or kills the program at one. */
#include "shim.h"
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Shared by all processes of a run: forked ones by the mapping, started ones by the file (see Counts in src/lib.rs). */
struct counters {
	_Atomic uint64_t calls, changes;
};
static struct counters *counters;
static int trace = -1;
static uint64_t kill_change, fail_change;
static enum { BEFORE, AFTER, HALF } kill_when;
static int fail_error;
/* The child at whose end the program is to be killed, or 0; see shim_kill_at_end_of. */
static pid_t kill_at_end_of, waiter;
static struct shim_call started;

/* Whether some program of the run was killed at its point: the machine is off, and nothing happens any more. */
static bool is_off(void)
{
	struct shim_at at;
	if (shim_settings.killed == NULL)
		return false;
	shim_at_host(&at, shim_settings.killed);
	return faccessat(at.fd, at.path, F_OK, 0) == 0;
}

_Noreturn static void die(void)
{
	kill(getpid(), SIGKILL);
	for (;;)
		pause();
}

__attribute__((constructor(102))) static void start_counting(void)
{
	const struct shim_settings *s = &shim_settings;
	int file = -1;
	if (s->count != NULL) {
		file = shim_open_host(s->count, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
		if (file < 0 || ftruncate(file, sizeof *counters) < 0)
			shim_die("ABI_SHIM_COUNT=%s: %s", s->count, strerror(errno));
	}
	int anonymous = file < 0 ? MAP_ANONYMOUS : 0;
	counters = mmap(NULL, sizeof *counters, PROT_READ | PROT_WRITE, MAP_SHARED | anonymous, file, 0);
	if (counters == MAP_FAILED)
		shim_die("the counters: %s", strerror(errno));
	if (file >= 0)
		close(file);
	if (s->trace != NULL) {
		int opened = shim_open_host(s->trace, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
		if (opened < 0)
			shim_die("ABI_SHIM_TRACE=%s: %s", s->trace, strerror(errno));
		trace = shim_private_fd(opened, false);
	}
	if (s->kill_at != NULL) {
		char *end;
		kill_change = strtoull(s->kill_at, &end, 10);
		if (strcmp(end, ":after") == 0)
			kill_when = AFTER;
		else if (strcmp(end, ":half") == 0)
			kill_when = HALF;
		else if (kill_change == 0 || (*end != '\0' && strcmp(end, ":before") != 0))
			shim_die("ABI_SHIM_KILL_AT=%s is not N, N:before, N:after or N:half", s->kill_at);
	}
	if (s->fail_at != NULL) {
		char *end;
		fail_change = strtoull(s->fail_at, &end, 10);
		fail_error = *end == ':' ? shim_errno_parse(end + 1) : 0;
		if (fail_change == 0 || fail_error == 0)
			shim_die("ABI_SHIM_FAIL_AT=%s is not N:ERROR", s->fail_at);
	}
	if (is_off())
		die();
	errno = 0;
}

/* One line a call: number, number among the changes or -, process, call, result. Written in one piece, so that the
 * lines of several processes do not mix. */
static void write_line(int file, const struct shim_call *call, const char *result)
{
	char line[512], change[24] = "-";
	if (call->change != 0)
		snprintf(change, sizeof change, "c%lu", call->change);
	int size = snprintf(line, sizeof line, "%lu %s %d %s(%s) = %s\n", call->number, change, getpid(), call->name,
		call->arguments, result);
	if (size >= (int)sizeof line) {
		size = sizeof line;
		line[size - 1] = '\n';
	}
	if (write(file, line, size) < 0)
		shim_die("a line of the trace: %s", strerror(errno));
}

void shim_kill(struct shim_call *call, const char *when)
{
	if (trace >= 0)
		write_line(trace, call, when);
	if (shim_settings.killed != NULL) {
		int file = shim_open_host(shim_settings.killed, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
		if (file < 0)
			shim_die("ABI_SHIM_KILLED=%s: %s", shim_settings.killed, strerror(errno));
		write_line(file, call, when);
	}
	die();
}

void shim_kill_at_end_of(struct shim_call *call, pid_t child)
{
	if (!call->kill_after)
		return;
	call->kill_after = false;
	started = *call;
	kill_at_end_of = child;
	waiter = getpid();
}

void shim_learn_end_of(pid_t child)
{
	if (kill_at_end_of != 0 && kill_at_end_of == child && waiter == getpid())
		shim_kill(&started, "killed after");
}

__attribute__((destructor)) void shim_learn_nothing(void)
{
	shim_learn_end_of(kill_at_end_of);
	if (is_off())
		die();
}

bool shim_enter(struct shim_call *call, bool changes, const char *name, const char *format, ...)
{
	int saved = errno;
	if (is_off())
		die();
	call->name = name;
	call->number = ++counters->calls;
	call->change = changes ? ++counters->changes : 0;
	call->kill_after = call->half = false;
	if (trace >= 0 || shim_settings.killed != NULL) {
		va_list arguments;
		va_start(arguments, format);
		vsnprintf(call->arguments, sizeof call->arguments, format, arguments);
		va_end(arguments);
		/* A line stays a line whatever a path is called. */
		for (char *c = call->arguments; *c != '\0'; c++)
			if ((unsigned char)*c < ' ')
				*c = '?';
	}
	if (changes && call->change == kill_change) {
		if (kill_when == BEFORE)
			shim_kill(call, "killed before");
		call->kill_after = true;
		call->half = kill_when == HALF;
	}
	errno = saved;
	if (changes && call->change == fail_change) {
		errno = fail_error;
		return true;
	}
	return false;
}

long shim_leave(struct shim_call *call, long result)
{
	int saved = errno;
	if (call->kill_after)
		shim_kill(call, "killed after");
	/* The call may have waited for what was then killed. */
	if (is_off())
		die();
	if (trace >= 0) {
		char text[64];
		if (result == -1)
			snprintf(text, sizeof text, "-1 %s", shim_errno_name(saved));
		else
			snprintf(text, sizeof text, "%ld", result);
		write_line(trace, call, text);
	}
	errno = saved;
	return result;
}

int shim_leave_error(struct shim_call *call, int error)
{
	errno = error;
	shim_leave(call, error == 0 ? 0 : -1);
	return shim_errno_to_illumos(error);
}
