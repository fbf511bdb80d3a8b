/* The shim's settings: environment variables, which the program itself never sees. */
#include "shim.h"
#include "launch.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct shim_settings shim_settings = {.platform = 99999999, .stamp = "20991231T000000Z", .time_scale = 1, .host = -1};
int shim_first_private_fd;
uintptr_t shim_stack_end;

/* The variables taken out of the environment, to be handed on to children. */
static char *carried[32];
static size_t carried_count;
#define PREFIX "ABI_SHIM_"
#define LIBRARY_PATH "LD_LIBRARY_PATH="

static void carry(char *variable)
{
	if (carried_count == sizeof carried / sizeof *carried)
		shim_die("too many settings");
	carried[carried_count++] = variable;
}

static int64_t nanoseconds(clockid_t clock)
{
	struct timespec now;
	clock_gettime(clock, &now);
	return now.tv_sec * 1000000000ll + now.tv_nsec;
}

/* "20130506T233003Z", or just the digits of the day. */
static unsigned platform_date(const char *stamp)
{
	char *end;
	unsigned long date = strtoul(stamp, &end, 10);
	if (end - stamp != 8 || (*end != '\0' && *end != 'T'))
		shim_die("ABI_SHIM_PLATFORM=%s is not a platform's date", stamp);
	return date;
}

static void apply(const char *name, const char *value)
{
	struct shim_settings *s = &shim_settings;
	if (strcmp(name, "PLATFORM") == 0) {
		s->platform = platform_date(value);
		s->stamp = value;
	} else if (strcmp(name, "TIME_SCALE") == 0) {
		s->time_scale = atol(value);
		if (s->time_scale < 1)
			shim_die("ABI_SHIM_TIME_SCALE=%s is not a positive number", value);
	} else if (strcmp(name, "TIME_BASE") == 0) {
		if (sscanf(value, "%ld,%ld", &s->base_monotonic, &s->base_realtime) != 2)
			shim_die("ABI_SHIM_TIME_BASE=%s is not two numbers", value);
	} else if (strcmp(name, "DEVICES") == 0) {
		s->devices = value;
	} else if (strcmp(name, "DISKS") == 0) {
		s->disks = value;
	} else if (strcmp(name, "HOSTNAME_FILE") == 0) {
		s->hostname = value;
	} else if (strcmp(name, "ZONE") == 0) {
		s->zone = atoi(value);
		if (s->zone < 0)
			shim_die("ABI_SHIM_ZONE=%s is no number of a zone", value);
	} else if (strcmp(name, "MEMORY") == 0) {
		char *end;
		s->memory = strtoull(value, &end, 10);
		if (*end != 0 || s->memory == 0)
			shim_die("ABI_SHIM_MEMORY=%s is no number of bytes", value);
	} else if (strcmp(name, "CLOCK") == 0) {
		s->clock = value;
	} else if (strcmp(name, "KILLED") == 0) {
		s->killed = value;
	} else if (strcmp(name, "POWER") == 0) {
		s->power = value;
	} else if (strcmp(name, "LOADER") == 0) {
		s->loader = value;
	} else if (strcmp(name, "LIBRARIES") == 0) {
		s->libraries = value;
	} else if (strcmp(name, "TRACE") == 0) {
		s->trace = value;
	} else if (strcmp(name, "COUNT") == 0) {
		s->count = value;
	} else if (strcmp(name, "KILL_AT") == 0) {
		s->kill_at = value;
	} else if (strcmp(name, "FAIL_AT") == 0) {
		s->fail_at = value;
	} else if (strcmp(name, "HOST_FD") == 0) {
		s->host = atoi(value);
	} else {
		shim_die("there is no setting %s%s", PREFIX, name);
	}
}

/* Runs before the program's own start code, with the vector that the program will see. */
__attribute__((constructor(101))) static void read_settings(int argc, char **argv, char **environment)
{
	(void)argc;
	(void)argv;
	const char *rooted = NULL;
	shim_stack_end = (uintptr_t)environment;
	shim_first_private_fd = launch_first_private_fd();
	char **kept = environment;
	for (char **variable = environment; *variable != NULL; variable++) {
		char *text = *variable;
		if (strncmp(text, PREFIX, strlen(PREFIX)) == 0) {
			char *value = strchr(text, '=');
			if (value == NULL)
				continue;
			char name[32];
			snprintf(name, sizeof name, "%.*s", (int)(value - text - strlen(PREFIX)), text + strlen(PREFIX));
			/* These two speak of this program alone. */
			if (strcmp(name, "EXECUTABLE") == 0) {
				shim_settings.executable = value + 1;
				continue;
			}
			if (strcmp(name, "EXECUTABLE_FD") == 0) {
				close(atoi(value + 1));
				continue;
			}
			apply(name, value + 1);
			carry(text);
		} else if (strncmp(text, LIBRARY_PATH, strlen(LIBRARY_PATH)) == 0) {
			rooted = text;
			*kept++ = text;
		} else {
			*kept++ = text;
		}
	}
	*kept = NULL;
	if (shim_settings.host >= 0 && rooted != NULL) {
		/* Inside a root folder the loader finds this library by that variable, which is no business of the program. */
		char **to = environment;
		for (char **from = environment; *from != NULL; from++)
			if (*from != rooted)
				*to++ = *from;
		*to = NULL;
		carry((char *)rooted);
	}
	if (shim_settings.base_monotonic == 0) {
		shim_settings.base_monotonic = nanoseconds(CLOCK_MONOTONIC);
		shim_settings.base_realtime = nanoseconds(CLOCK_REALTIME);
		static char base[80];
		snprintf(base, sizeof base, PREFIX "TIME_BASE=%ld,%ld", shim_settings.base_monotonic, shim_settings.base_realtime);
		carry(base);
	}
}

char **shim_environment(char *const *environment)
{
	size_t count = 0;
	while (environment != NULL && environment[count] != NULL)
		count++;
	char **joined = calloc(count + carried_count + 3, sizeof *joined);
	if (joined == NULL)
		shim_die("no memory for an environment");
	memcpy(joined, environment, count * sizeof *joined);
	memcpy(joined + count, carried, carried_count * sizeof *joined);
	return joined;
}

int shim_private_fd(int fd, bool inherited)
{
	int moved = fcntl(fd, inherited ? F_DUPFD : F_DUPFD_CLOEXEC, shim_first_private_fd);
	if (moved < 0)
		shim_die("no descriptor from %d on is free (raise the limit of open files)", shim_first_private_fd);
	close(fd);
	return moved;
}
