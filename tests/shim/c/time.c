/* Clocks, which may run faster for the program than for the world, and waiting by them. */
#include "shim.h"
#include "illumos/processes.h"
#include <sys/time.h>
#include <unistd.h>

#define SECOND 1000000000ll

clockid_t shim_clock_to_linux(int illumos)
{
	switch (illumos) {
	case IL_CLOCK_REALTIME_OLD:
	case IL_CLOCK_REALTIME:
		return CLOCK_REALTIME;
	case IL_CLOCK_MONOTONIC:
		return CLOCK_MONOTONIC;
	case IL_CLOCK_THREAD_CPUTIME:
		return CLOCK_THREAD_CPUTIME_ID;
	case IL_CLOCK_VIRTUAL:
	case IL_CLOCK_PROCESS_CPUTIME:
		return CLOCK_PROCESS_CPUTIME_ID;
	default:
		return -1;
	}
}

static int64_t to_number(const struct timespec *t)
{
	return t->tv_sec * SECOND + t->tv_nsec;
}

static struct timespec to_timespec(int64_t number)
{
	return (struct timespec){.tv_sec = number / SECOND, .tv_nsec = number % SECOND};
}

static bool is_scaled(clockid_t clock)
{
	return shim_settings.time_scale != 1 && (clock == CLOCK_MONOTONIC || clock == CLOCK_REALTIME);
}

/* Rounded up, so that nothing waits less than it asked for. */
static int64_t shorter(int64_t duration)
{
	long scale = shim_settings.time_scale;
	return (duration + scale - 1) / scale;
}

struct timespec shim_real_duration(const struct timespec *t)
{
	return to_timespec(shorter(to_number(t)));
}

static int64_t host_now(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return to_number(&t);
}

/* What a scaled clock shows. Both follow the host's monotonic one: a correction of the host's time of day, a thousand times
 * enlarged, would be none. */
static int64_t scaled_now(clockid_t clock)
{
	const struct shim_settings *s = &shim_settings;
	int64_t base = clock == CLOCK_MONOTONIC ? s->base_monotonic : s->base_realtime;
	return base + (host_now(CLOCK_MONOTONIC) - s->base_monotonic) * s->time_scale;
}

int64_t shim_now(clockid_t clock)
{
	return is_scaled(clock) ? scaled_now(clock) : host_now(clock);
}

/* What the program has set its clock to show besides. */
static int64_t correction(clockid_t clock)
{
	return clock == CLOCK_REALTIME ? shim_clock_correction() : 0;
}

struct timespec shim_real_time(clockid_t clock, const struct timespec *t)
{
	int64_t wanted = to_number(t) - correction(clock);
	if (!is_scaled(clock))
		return to_timespec(wanted < 0 ? 0 : wanted);
	int64_t ahead = wanted - scaled_now(clock);
	return to_timespec(host_now(clock) + (ahead > 0 ? shorter(ahead) : 0));
}

static int now(clockid_t clock, struct timespec *t)
{
	*t = to_timespec(shim_now(clock) + correction(clock));
	return 0;
}

static int known_clock(int illumos, clockid_t *clock)
{
	*clock = shim_clock_to_linux(illumos);
	if (*clock >= 0)
		return 0;
	errno = EINVAL;
	return -1;
}

ILLUMOS(int, clock_gettime, (int illumos, struct timespec *t))
{
	clockid_t clock;
	return known_clock(illumos, &clock) < 0 ? -1 : now(clock, t);
}

ILLUMOS(int, clock_getres, (int illumos, struct timespec *t))
{
	clockid_t clock;
	return known_clock(illumos, &clock) < 0 ? -1 : clock_getres(clock, t);
}

ILLUMOS(int, gettimeofday, (struct timeval *t, void *zone))
{
	(void)zone;
	struct timespec precise;
	now(CLOCK_REALTIME, &precise);
	*t = (struct timeval){.tv_sec = precise.tv_sec, .tv_usec = precise.tv_nsec / 1000};
	return 0;
}

ILLUMOS(time_t, time, (time_t *where))
{
	struct timespec t;
	now(CLOCK_REALTIME, &t);
	if (where != NULL)
		*where = t.tv_sec;
	return t.tv_sec;
}

ILLUMOS(int64_t, gethrtime, (void))
{
	struct timespec t;
	now(CLOCK_MONOTONIC, &t);
	return to_number(&t);
}

/* -- sleeping -- */

/* What is left of an interrupted sleep, in the program's time. */
static void tell_left(struct timespec *left)
{
	if (left != NULL)
		*left = to_timespec(to_number(left) * shim_settings.time_scale);
}

static int sleep_on(clockid_t clock, int flags, const struct timespec *t, struct timespec *left)
{
	bool absolute = (flags & IL_TIMER_ABSTIME) != 0;
	struct timespec real = absolute ? shim_real_time(clock, t) : shim_real_duration(t);
	int error = clock_nanosleep(clock, absolute ? TIMER_ABSTIME : 0, &real, left);
	if (error == EINTR && !absolute)
		tell_left(left);
	return error;
}

ILLUMOS(int, clock_nanosleep, (int illumos, int flags, const struct timespec *t, struct timespec *left))
{
	struct shim_call call;
	if (shim_enter(&call, false, "clock_nanosleep", "%d, %d, %ld.%09ld", illumos, flags, t->tv_sec, t->tv_nsec))
		return shim_leave_error(&call, errno);
	clockid_t clock = shim_clock_to_linux(illumos);
	return shim_leave_error(&call, clock < 0 ? EINVAL : sleep_on(clock, flags, t, left));
}

ILLUMOS(int, nanosleep, (const struct timespec *t, struct timespec *left))
{
	LOOKS("nanosleep", "%ld.%09ld", t->tv_sec, t->tv_nsec);
	int error = sleep_on(CLOCK_REALTIME, 0, t, left);
	if (error != 0)
		errno = error;
	DONE(error == 0 ? 0 : -1);
}

ILLUMOS(unsigned, sleep, (unsigned seconds))
{
	struct timespec t = {.tv_sec = seconds}, left = {0};
	return sleep_on(CLOCK_REALTIME, 0, &t, &left) == 0 ? 0 : left.tv_sec;
}

ILLUMOS(int, usleep, (unsigned microseconds))
{
	struct timespec t = to_timespec(microseconds * 1000ll);
	return sleep_on(CLOCK_REALTIME, 0, &t, NULL) == 0 ? 0 : -1;
}

/* alarm(2) in the program's seconds; setitimer(2)'s clocks have Linux' numbers but are not wrapped yet. */
ILLUMOS(unsigned, alarm, (unsigned seconds))
{
	struct timespec t = {.tv_sec = seconds}, real = shim_real_duration(&t);
	struct itimerval new = {.it_value = {.tv_sec = real.tv_sec, .tv_usec = (real.tv_nsec + 999) / 1000}}, old;
	if (setitimer(ITIMER_REAL, &new, &old) < 0)
		return 0;
	int64_t left = (old.it_value.tv_sec * SECOND + old.it_value.tv_usec * 1000) * shim_settings.time_scale;
	return (left + SECOND - 1) / SECOND;
}

/* -- calendar. glibc's struct tm has two members more, at its end (usr/src/head/time.h has nine ints). -- */
struct il_tm {
	int fields[9];
};

static struct il_tm *tm_to_illumos(const struct tm *from, struct il_tm *to)
{
	if (from == NULL)
		return NULL;
	*to = (struct il_tm){{from->tm_sec, from->tm_min, from->tm_hour, from->tm_mday, from->tm_mon, from->tm_year,
		from->tm_wday, from->tm_yday, from->tm_isdst}};
	return to;
}

ILLUMOS(struct il_tm *, gmtime_r, (const time_t *t, struct il_tm *to))
{
	struct tm own;
	return tm_to_illumos(gmtime_r(t, &own), to);
}

ILLUMOS(struct il_tm *, localtime_r, (const time_t *t, struct il_tm *to))
{
	struct tm own;
	return tm_to_illumos(localtime_r(t, &own), to);
}
