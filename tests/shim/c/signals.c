/* Signals. Handlers get illumos' numbers and structures. */
#include "shim.h"
#include "illumos/processes.h"
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const unsigned char to_linux[IL_NSIG] = {
#define S(name, number) [number] = name,
	IL_SIGNAL_TABLE(S)
#undef S
};

int shim_signal_to_linux(int illumos)
{
	return illumos > 0 && illumos < IL_NSIG ? to_linux[illumos] : 0;
}

int shim_signal_to_illumos(int number)
{
	for (int illumos = 1; illumos < IL_NSIG; illumos++)
		if (to_linux[illumos] == number)
			return illumos;
	shim_die("illumos has no signal like Linux' %d", number);
}

/* -- sets -- */
static bool has(const struct il_sigset *set, int signal)
{
	return set->word[(signal - 1) >> 5] >> ((signal - 1) & 31) & 1;
}

static int put(struct il_sigset *set, int signal, bool in)
{
	if (signal <= 0 || signal >= IL_NSIG) {
		errno = EINVAL;
		return -1;
	}
	uint32_t bit = 1u << ((signal - 1) & 31);
	uint32_t *word = &set->word[(signal - 1) >> 5];
	*word = in ? *word | bit : *word & ~bit;
	return 0;
}

/* Signals that only illumos has are left out: nobody sends them here. */
void shim_sigset_to_linux(const struct il_sigset *from, void *to)
{
	sigemptyset(to);
	for (int signal = 1; signal < IL_NSIG; signal++)
		if (to_linux[signal] != 0 && has(from, signal))
			sigaddset(to, to_linux[signal]);
}

void shim_sigset_to_illumos(const void *from, struct il_sigset *to)
{
	memset(to, 0, sizeof *to);
	for (int signal = 1; signal < IL_NSIG; signal++)
		if (to_linux[signal] != 0 && sigismember(from, to_linux[signal]))
			put(to, signal, true);
}

ILLUMOS(int, sigemptyset, (struct il_sigset *set))
{
	memset(set, 0, sizeof *set);
	return 0;
}

ILLUMOS(int, sigfillset, (struct il_sigset *set))
{
	memset(set, 0, sizeof *set);
	for (int signal = 1; signal < IL_NSIG; signal++)
		put(set, signal, true);
	return 0;
}

ILLUMOS(int, sigaddset, (struct il_sigset *set, int signal))
{
	return put(set, signal, true);
}

ILLUMOS(int, sigdelset, (struct il_sigset *set, int signal))
{
	return put(set, signal, false);
}

ILLUMOS(int, sigismember, (const struct il_sigset *set, int signal))
{
	if (signal <= 0 || signal >= IL_NSIG) {
		errno = EINVAL;
		return -1;
	}
	return has(set, signal);
}

/* -- handlers -- */
typedef void handler_function(int, struct il_siginfo *, void *);

/* What the program asked for, by illumos number, for the trampoline and for sigaction's third argument. */
static struct il_sigaction actions[IL_NSIG];

/* sys/siginfo.h: the codes are Linux' but for those of kill-like calls. SI_LWP is -1 there, SI_QUEUE -2. */
static int code_to_illumos(int code)
{
	switch (code) {
	case SI_TKILL:
		return -1;
	case SI_QUEUE:
		return -2;
	default:
		return code;
	}
}

static void trampoline(int number, siginfo_t *info, void *context)
{
	(void)context;
	int saved = errno, signal = shim_signal_to_illumos(number);
	struct il_siginfo told = {.signo = signal, .code = code_to_illumos(info->si_code)};
	switch (number) {
	case SIGSEGV:
	case SIGBUS:
	case SIGILL:
	case SIGFPE:
	case SIGTRAP:
		told.address = info->si_addr;
		break;
	case SIGCHLD:
		told.process.pid = info->si_pid;
		told.process.child.status =
			info->si_code == CLD_EXITED ? info->si_status : shim_signal_to_illumos(info->si_status);
		break;
	default:
		told.process.pid = info->si_pid;
		told.process.uid = info->si_uid;
	}
	/* The machine context has another layout; a handler that looks into it should fall over at once. */
	handler_function *handler = (handler_function *)actions[signal].handler;
	handler(signal, &told, NULL);
	errno = saved;
}

static const struct {
	int illumos, linux_flag;
} action_flags[] = {
	{IL_SA_ONSTACK, SA_ONSTACK}, {IL_SA_RESETHAND, SA_RESETHAND}, {IL_SA_RESTART, SA_RESTART},
	{IL_SA_NODEFER, SA_NODEFER}, {IL_SA_NOCLDWAIT, SA_NOCLDWAIT}, {IL_SA_NOCLDSTOP, SA_NOCLDSTOP},
};

static int act(int signal, const struct il_sigaction *new, struct il_sigaction *old)
{
	if (signal <= 0 || signal >= IL_NSIG) {
		errno = EINVAL;
		return -1;
	}
	struct il_sigaction before = actions[signal];
	/* Signals that only illumos has can be set and never arrive. */
	if (to_linux[signal] != 0) {
		struct sigaction action = {0}, previous;
		if (new != NULL) {
			bool own = new->handler != SIG_DFL && new->handler != SIG_IGN;
			shim_sigset_to_linux(&new->mask, &action.sa_mask);
			for (size_t i = 0; i < sizeof action_flags / sizeof *action_flags; i++)
				if (new->flags & action_flags[i].illumos)
					action.sa_flags |= action_flags[i].linux_flag;
			if (own) {
				action.sa_flags |= SA_SIGINFO;
				action.sa_sigaction = trampoline;
			} else {
				action.sa_handler = (void (*)(int))new->handler;
			}
			actions[signal] = *new;
		}
		if (sigaction(to_linux[signal], new == NULL ? NULL : &action, &previous) < 0) {
			actions[signal] = before;
			return -1;
		}
		/* Inherited dispositions, and handlers that were reset by their first use. */
		if (previous.sa_sigaction != trampoline)
			before = (struct il_sigaction){.handler = (void *)previous.sa_handler};
	} else if (new != NULL) {
		actions[signal] = *new;
	}
	if (old != NULL)
		*old = before;
	return 0;
}

ILLUMOS(int, sigaction, (int signal, const struct il_sigaction *new, struct il_sigaction *old))
{
	LOOKS("sigaction", "%d", signal);
	DONE(act(signal, new, old));
}

/* signal(3C) has the System V meaning: a handler serves once, and children of whom nobody wants to hear are not kept
 * (usr/src/lib/libc/port/sys/signal.c). */
ILLUMOS(void *, signal, (int signal, void *handler))
{
	struct il_sigaction new = {.handler = handler, .flags = IL_SA_RESETHAND | IL_SA_NODEFER}, old;
	if (shim_signal_to_linux(signal) == SIGCHLD && handler == SIG_IGN)
		new.flags |= IL_SA_NOCLDWAIT;
	return act(signal, &new, &old) < 0 ? (void *)SIG_ERR : old.handler;
}

/* -- masks -- */
static int mask(int how, const struct il_sigset *set, struct il_sigset *old)
{
	static const int hows[] = {[IL_SIG_BLOCK] = SIG_BLOCK, [IL_SIG_UNBLOCK] = SIG_UNBLOCK, [IL_SIG_SETMASK] = SIG_SETMASK};
	sigset_t new, previous;
	if (set != NULL) {
		if (how < IL_SIG_BLOCK || how > IL_SIG_SETMASK)
			return EINVAL;
		shim_sigset_to_linux(set, &new);
	}
	int error = pthread_sigmask(set == NULL ? SIG_BLOCK : hows[how], set == NULL ? NULL : &new, &previous);
	if (error == 0 && old != NULL)
		shim_sigset_to_illumos(&previous, old);
	return error;
}

ILLUMOS(int, sigprocmask, (int how, const struct il_sigset *set, struct il_sigset *old))
{
	int error = mask(how, set, old);
	if (error == 0)
		return 0;
	errno = error;
	return -1;
}

ILLUMOS(int, pthread_sigmask, (int how, const struct il_sigset *set, struct il_sigset *old))
{
	return shim_errno_to_illumos(mask(how, set, old));
}

ILLUMOS(int, sigpending, (struct il_sigset *set))
{
	sigset_t pending;
	int result = sigpending(&pending);
	if (result == 0)
		shim_sigset_to_illumos(&pending, set);
	return result;
}

ILLUMOS(int, sigsuspend, (const struct il_sigset *set))
{
	sigset_t own;
	shim_sigset_to_linux(set, &own);
	return sigsuspend(&own);
}

ILLUMOS(int, __posix_sigwait, (const struct il_sigset *set, int *signal))
{
	sigset_t own;
	int number;
	shim_sigset_to_linux(set, &own);
	int error = sigwait(&own, &number);
	if (error == 0)
		*signal = shim_signal_to_illumos(number);
	return shim_errno_to_illumos(error);
}

/* -- sending -- */
ILLUMOS(int, kill, (pid_t process, int signal))
{
	CHANGES("kill", "%d, %d", process, signal);
	if (signal != 0 && shim_signal_to_linux(signal) == 0) {
		errno = EINVAL;
		DONE(-1);
	}
	DONE(kill(process, shim_signal_to_linux(signal)));
}

ILLUMOS(int, raise, (int signal))
{
	return raise(shim_signal_to_linux(signal));
}

/* -- alternate stacks -- */
ILLUMOS(int, sigaltstack, (const struct il_stack *new, struct il_stack *old))
{
	stack_t stack, previous;
	/* SS_ONSTACK 1 and SS_DISABLE 2 are Linux' numbers. */
	if (new != NULL)
		stack = (stack_t){.ss_sp = new->sp, .ss_size = new->size, .ss_flags = new->flags};
	int result = sigaltstack(new == NULL ? NULL : &stack, &previous);
	if (result == 0 && old != NULL)
		*old = (struct il_stack){.sp = previous.ss_sp, .size = previous.ss_size, .flags = previous.ss_flags};
	return result;
}

/* glibc would look up the main thread's stack in /proc, which a root folder lacks. It ends where the environment begins,
 * and may grow to the limit. */
static void main_stack(struct il_stack *bounds)
{
	struct rlimit limit;
	uintptr_t page = getpagesize(), end = (shim_stack_end + page - 1) & -page;
	if (getrlimit(RLIMIT_STACK, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
		limit.rlim_cur = 8 << 20;
	*bounds = (struct il_stack){.sp = (void *)(end - limit.rlim_cur), .size = limit.rlim_cur};
}

ILLUMOS(int, stack_getbounds, (struct il_stack *bounds))
{
	pthread_attr_t attributes;
	if (gettid() == getpid()) {
		main_stack(bounds);
		return 0;
	}
	if (pthread_getattr_np(pthread_self(), &attributes) != 0)
		shim_die("stack_getbounds: no bounds");
	*bounds = (struct il_stack){0};
	pthread_attr_getstack(&attributes, &bounds->sp, &bounds->size);
	pthread_attr_destroy(&attributes);
	return 0;
}
