/* What illumos programs know of the system they are on: usr/src/uts/common/sys/{unistd,systeminfo,utsname}.h,
 * usr/src/head/pwd.h. */
#pragma once
#include <stdint.h>

struct il_utsname {
	char sysname[257], nodename[257], release[257], version[257], machine[257];
};

/* sysconf(3C), sys/unistd.h: LINUX_NAME(illumos number). */
#define IL_SYSCONF_TABLE(S) \
	S(_SC_ARG_MAX, 1) S(_SC_CHILD_MAX, 2) S(_SC_CLK_TCK, 3) S(_SC_NGROUPS_MAX, 4) S(_SC_OPEN_MAX, 5) \
	S(_SC_JOB_CONTROL, 6) S(_SC_SAVED_IDS, 7) S(_SC_VERSION, 8) S(_SC_PAGESIZE, 11) S(_SC_NPROCESSORS_CONF, 14) \
	S(_SC_NPROCESSORS_ONLN, 15) S(_SC_STREAM_MAX, 16) S(_SC_LINE_MAX, 60) S(_SC_ATEXIT_MAX, 76) \
	S(_SC_IOV_MAX, 77) S(_SC_PHYS_PAGES, 500) S(_SC_AVPHYS_PAGES, 501) S(_SC_THREAD_STACK_MIN, 573) \
	S(_SC_HOST_NAME_MAX, 735) S(_SC_SYMLOOP_MAX, 744)
#define IL_SC_PHYS_PAGES 500
/* What glibc answers with -1 ("no limit"), illumos answers with a size. */
#define IL_SC_GETGR_R_SIZE_MAX 569
#define IL_SC_GETPW_R_SIZE_MAX 570

/* sysinfo(2), sys/systeminfo.h */
#define IL_SI_SYSNAME 1
#define IL_SI_HOSTNAME 2
#define IL_SI_RELEASE 3
#define IL_SI_VERSION 4
#define IL_SI_MACHINE 5
#define IL_SI_ARCHITECTURE 6
#define IL_SI_HW_SERIAL 7
#define IL_SI_HW_PROVIDER 8
#define IL_SI_PLATFORM 513
#define IL_SI_ISALIST 514
#define IL_SI_ARCHITECTURE_32 516
#define IL_SI_ARCHITECTURE_64 517
#define IL_SI_ARCHITECTURE_K 518

/* usr/src/head/pwd.h */
struct il_passwd {
	char *name, *passwd;
	uint32_t uid, gid;
	char *age, *comment, *gecos, *dir, *shell;
};
