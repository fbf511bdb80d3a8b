/* What illumos programs know of processes, signals, threads and time:
 * usr/src/uts/common/sys/{signal,siginfo,wait,time_impl,resource}.h, sys/iso/signal_iso.h, usr/src/head/{spawn,pthread}.h. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* Signals, sys/iso/signal_iso.h: LINUX_NAME(illumos number). Numbers 1 to 6, 8, 9, 11 and 13 to 15 are shared.
 * EMT, FREEZE, THAW, LOST, XRES and the numbers reserved for old thread libraries have no counterpart. */
#define IL_SIGNAL_TABLE(S) \
	S(SIGHUP, 1) S(SIGINT, 2) S(SIGQUIT, 3) S(SIGILL, 4) S(SIGTRAP, 5) S(SIGABRT, 6) S(SIGFPE, 8) S(SIGKILL, 9) \
	S(SIGBUS, 10) S(SIGSEGV, 11) S(SIGSYS, 12) S(SIGPIPE, 13) S(SIGALRM, 14) S(SIGTERM, 15) S(SIGUSR1, 16) \
	S(SIGUSR2, 17) S(SIGCHLD, 18) S(SIGPWR, 19) S(SIGWINCH, 20) S(SIGURG, 21) S(SIGPOLL, 22) S(SIGSTOP, 23) \
	S(SIGTSTP, 24) S(SIGCONT, 25) S(SIGTTIN, 26) S(SIGTTOU, 27) S(SIGVTALRM, 28) S(SIGPROF, 29) S(SIGXCPU, 30) \
	S(SIGXFSZ, 31)
/* One past the last signal (_SIGRTMAX is 73). */
#define IL_NSIG 74

struct il_sigset {
	uint32_t word[4];
};

#define IL_SA_ONSTACK 0x1
#define IL_SA_RESETHAND 0x2
#define IL_SA_RESTART 0x4
#define IL_SA_NODEFER 0x10
#define IL_SA_NOCLDWAIT 0x10000
#define IL_SA_NOCLDSTOP 0x20000

struct il_sigaction {
	int32_t flags;
	void *handler;
	struct il_sigset mask;
};
_Static_assert(sizeof(struct il_sigaction) == 32, "sys/signal.h, struct sigaction of LP64");

/* sys/siginfo.h: the members of the union that handlers read. */
struct il_siginfo {
	int32_t signo, code, error, pad;
	union {
		struct {
			int32_t pid, pad;
			union {
				uint32_t uid;
				struct {
					int64_t utime;
					int32_t status;
					int64_t stime;
				} child;
			};
		} process;
		void *address;
		int32_t all[60];
	};
};
_Static_assert(sizeof(struct il_siginfo) == 256, "sys/siginfo.h, SI_MAXSZ of LP64");

struct il_stack {
	void *sp;
	size_t size;
	int32_t flags;
};

#define IL_SIG_BLOCK 1
#define IL_SIG_UNBLOCK 2
#define IL_SIG_SETMASK 3

/* waitpid(2), sys/wait.h. The layout of the status word is that of Linux, the signal numbers are not. */
#define IL_WUNTRACED 0x4
#define IL_WCONTINUED 0x8
#define IL_WNOHANG 0x40

/* Clocks, sys/time_impl.h; 0 is the old name of the real-time clock. */
#define IL_CLOCK_REALTIME_OLD 0
#define IL_CLOCK_VIRTUAL 1
#define IL_CLOCK_THREAD_CPUTIME 2
#define IL_CLOCK_REALTIME 3
#define IL_CLOCK_MONOTONIC 4
#define IL_CLOCK_PROCESS_CPUTIME 5
#define IL_TIMER_ABSTIME 1

/* usr/src/head/spawn.h; SETSID came after 2013. */
#define IL_POSIX_SPAWN_RESETIDS 0x1
#define IL_POSIX_SPAWN_SETPGROUP 0x2
#define IL_POSIX_SPAWN_SETSIGDEF 0x4
#define IL_POSIX_SPAWN_SETSIGMASK 0x8
#define IL_POSIX_SPAWN_SETSID 0x40

/* usr/src/uts/common/sys/resource.h */
#define IL_RLIMIT_CPU 0
#define IL_RLIMIT_FSIZE 1
#define IL_RLIMIT_DATA 2
#define IL_RLIMIT_STACK 3
#define IL_RLIMIT_CORE 4
#define IL_RLIMIT_NOFILE 5
#define IL_RLIMIT_VMEM 6
#define IL_RLIM_INFINITY ((uint64_t)-3)

/* usr/src/head/pthread.h: sizes of the objects a program allocates. Attributes are one pointer each. */
struct il_mutex {
	uint16_t flag1;
	uint8_t flag2, ceiling;
	uint16_t type, magic;
	/* The shim keeps the address of the glibc mutex in the word the owner would be in. */
	void *box;
	uint64_t data;
};
_Static_assert(sizeof(struct il_mutex) == 24, "usr/src/uts/common/sys/types.h, pthread_mutex_t");
struct il_cond {
	uint8_t flag[4];
	uint16_t type, magic;
	void *box;
};
_Static_assert(sizeof(struct il_cond) == 16, "usr/src/uts/common/sys/types.h, pthread_cond_t");
#define IL_MUTEX_ERRORCHECK 2
#define IL_MUTEX_RECURSIVE 4
#define IL_CREATE_DETACHED 0x40
