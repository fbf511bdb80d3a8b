/* What the machine and the platform are. */
#include "shim.h"
#include "illumos/system.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* SmartOS calls its version joyent_ and the stamp of the platform. */
static void version(char *buffer, size_t size)
{
	snprintf(buffer, size, "joyent_%s%s", shim_settings.stamp, strchr(shim_settings.stamp, 'T') == NULL ? "T000000Z" : "");
}

/* The node name: the machine's, or the one of a simulated machine. Before anybody sets one it is empty. */
static int node_name(char *buffer, size_t size)
{
	if (shim_settings.hostname == NULL)
		return gethostname(buffer, size);
	int fd = shim_open_host(shim_settings.hostname, O_RDONLY | O_CLOEXEC, 0);
	ssize_t got = fd < 0 ? 0 : read(fd, buffer, size - 1);
	if (fd >= 0)
		close(fd);
	buffer[got < 0 ? 0 : got] = '\0';
	buffer[strcspn(buffer, "\n")] = '\0';
	return 0;
}

ILLUMOS(int, uname, (struct il_utsname *to))
{
	memset(to, 0, sizeof *to);
	strcpy(to->sysname, "SunOS");
	if (node_name(to->nodename, sizeof to->nodename) < 0)
		return -1;
	strcpy(to->release, "5.11");
	version(to->version, sizeof to->version);
	strcpy(to->machine, "i86pc");
	/* uname(2) returns a non-negative value that is not 0. */
	return 1;
}

/* Always cut short by nothing: illumos truncates and still returns the whole length with its end. */
ILLUMOS(int, sysinfo, (int command, char *buffer, long size))
{
	char text[512] = "";
	switch (command) {
	case IL_SI_SYSNAME:
		strcpy(text, "SunOS");
		break;
	case IL_SI_HOSTNAME:
		node_name(text, sizeof text);
		break;
	case IL_SI_RELEASE:
		strcpy(text, "5.11");
		break;
	case IL_SI_VERSION:
		version(text, sizeof text);
		break;
	case IL_SI_MACHINE:
	case IL_SI_PLATFORM:
		strcpy(text, "i86pc");
		break;
	case IL_SI_ARCHITECTURE:
	case IL_SI_ARCHITECTURE_32:
		strcpy(text, "i386");
		break;
	case IL_SI_ARCHITECTURE_64:
	case IL_SI_ARCHITECTURE_K:
		strcpy(text, "amd64");
		break;
	case IL_SI_HW_SERIAL:
		snprintf(text, sizeof text, "%u", (unsigned)gethostid());
		break;
	case IL_SI_HW_PROVIDER:
		break;
	case IL_SI_ISALIST:
		strcpy(text, "amd64 pentium_pro+mmx pentium_pro pentium+mmx pentium i486 i386 i86");
		break;
	default:
		shim_die("sysinfo: command %d is unknown", command);
	}
	if (size > 0)
		snprintf(buffer, size, "%s", text);
	return strlen(text) + 1;
}

static const struct {
	int illumos, linux_name;
} names[] = {
#define S(name, number) {number, name},
	IL_SYSCONF_TABLE(S)
#undef S
};

ILLUMOS(long, sysconf, (int name))
{
	/* Sizes that libc itself uses for its buffers (usr/src/lib/libc/port/gen/sysconf.c). */
	if (name == IL_SC_GETGR_R_SIZE_MAX)
		return 7296;
	if (name == IL_SC_GETPW_R_SIZE_MAX)
		return 1024;
	if (name == IL_SC_PHYS_PAGES && shim_settings.memory > 0)
		return shim_settings.memory / getpagesize();
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (names[i].illumos == name)
			return sysconf(names[i].linux_name);
	shim_die("sysconf: name %d is unknown", name);
}

ILLUMOS(int, getpagesize, (void))
{
	return getpagesize();
}

ILLUMOS(int, gethostname, (char *buffer, size_t size))
{
	char name[257];
	if (node_name(name, sizeof name) < 0)
		return -1;
	/* Cut short without an end, where it does not fit (usr/src/lib/libc/port/gen/gethostname.c, by sysinfo(2)). */
	strncpy(buffer, name, size);
	return 0;
}

/* pset_info(2): std asks whether the process is bound to a set of processors. It is not (PS_NONE is -1, and the answer
 * for it is the default set). */
ILLUMOS(int, pset_info, (int set, int *type, unsigned *count, int *list))
{
	(void)set;
	(void)list;
	if (type != NULL)
		*type = 2; /* PS_PRIVATE 2 would be a set of its own; callers only look at the count. */
	if (count != NULL)
		*count = sysconf(_SC_NPROCESSORS_ONLN);
	return 0;
}

ILLUMOS(int, getzoneid, (void))
{
	return shim_settings.zone;
}
