/* Setting the clock. The host's is not the program's to set: what the program's shows besides is kept in a file, which all
 * processes of a simulated machine share and which outlives its boots. */
#include "shim.h"
#include "illumos/processes.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#define SECOND 1000000000ll
/* adjtime(2) lets the clock run a sixteenth faster or slower (usr/src/uts/common/sys/clock.h, ADJ_SHIFT 4). */
#define SLEW_PART 16

/* The file (src/clock.rs has the same), all in nanoseconds: what was set, and what adjtime(2) is adding to it: since when
 * by CLOCK_MONOTONIC, and how much in all. */
struct correction {
	int64_t offset, slew_start, slew;
};

/* Without a file, setting the clock is noted in the trace and does nothing. */
static struct correction nothing, *correction = &nothing;

__attribute__((constructor(103))) static void find_correction(void)
{
	const char *path = shim_settings.clock;
	if (path == NULL)
		return;
	int file = shim_open_host(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (file < 0 || ftruncate(file, sizeof *correction) < 0)
		shim_die("ABI_SHIM_CLOCK=%s: %m", path);
	correction = mmap(NULL, sizeof *correction, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (correction == MAP_FAILED)
		shim_die("ABI_SHIM_CLOCK=%s: %m", path);
	close(file);
	errno = 0;
}

/* How much of the slew has happened. A start in the future was set before the machine's last boot. */
static int64_t slewed(const struct correction *c)
{
	if (c->slew == 0)
		return 0;
	int64_t most = (shim_now(CLOCK_MONOTONIC) - c->slew_start) / SLEW_PART;
	if (most < 0 || most > llabs(c->slew))
		return c->slew;
	return c->slew < 0 ? -most : most;
}

int64_t shim_clock_correction(void)
{
	return correction->offset + slewed(correction);
}

static void set(int64_t nanoseconds)
{
	if (correction != &nothing)
		*correction = (struct correction){.offset = nanoseconds - shim_now(CLOCK_REALTIME)};
}

ILLUMOS(int, clock_settime, (int illumos, const struct timespec *t))
{
	CHANGES("clock_settime", "%d, %ld.%09ld", illumos, t->tv_sec, t->tv_nsec);
	if (illumos != IL_CLOCK_REALTIME || t->tv_nsec < 0 || t->tv_nsec >= SECOND) {
		errno = EINVAL;
		DONE(-1);
	}
	set(t->tv_sec * SECOND + t->tv_nsec);
	DONE(0);
}

ILLUMOS(int, settimeofday, (const struct timeval *t, void *zone))
{
	(void)zone;
	CHANGES("settimeofday", "%ld.%06ld", t == NULL ? 0 : t->tv_sec, t == NULL ? 0 : t->tv_usec);
	if (t != NULL && (t->tv_usec < 0 || t->tv_usec >= 1000000)) {
		errno = EINVAL;
		DONE(-1);
	}
	if (t != NULL)
		set(t->tv_sec * SECOND + t->tv_usec * 1000);
	DONE(0);
}

ILLUMOS(int, stime, (const time_t *t))
{
	CHANGES("stime", "%ld", *t);
	set(*t * SECOND);
	DONE(0);
}

ILLUMOS(int, adjtime, (const struct timeval *delta, struct timeval *old))
{
	CHANGES("adjtime", "%ld.%06ld", delta == NULL ? 0 : delta->tv_sec, delta == NULL ? 0 : delta->tv_usec);
	int64_t done = slewed(correction), left = correction->slew - done;
	if (old != NULL)
		*old = (struct timeval){.tv_sec = left / SECOND, .tv_usec = left % SECOND / 1000};
	if (delta != NULL && correction != &nothing) {
		correction->offset += done;
		correction->slew_start = shim_now(CLOCK_MONOTONIC);
		correction->slew = delta->tv_sec * SECOND + delta->tv_usec * 1000;
	}
	DONE(0);
}
