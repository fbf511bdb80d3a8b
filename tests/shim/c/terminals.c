/* Terminals, and ioctl(2). */
#include "shim.h"
#include "illumos/disks.h"
#include "illumos/terminals.h"
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

/* -- speeds: codes, of which both systems share 0 to 15 -- */
static const struct {
	unsigned illumos;
	speed_t linux_speed;
} speeds[] = {
	{IL_B57600, B57600}, {IL_B115200, B115200}, {IL_B230400, B230400}, {IL_B460800, B460800}, {IL_B921600, B921600},
};
#define SPEEDS (sizeof speeds / sizeof *speeds)

/* False for the speeds that Linux has no code for (76800, 153600, 307200) and for codes that are none. */
static bool speed_to_linux(unsigned illumos, speed_t *speed)
{
	*speed = illumos;
	for (size_t i = 0; i < SPEEDS && illumos > B38400; i++)
		if (speeds[i].illumos == illumos) {
			*speed = speeds[i].linux_speed;
			return true;
		}
	return illumos <= B38400;
}

static unsigned speed_to_illumos(speed_t speed)
{
	for (size_t i = 0; i < SPEEDS; i++)
		if (speeds[i].linux_speed == speed)
			return speeds[i].illumos;
	return speed <= B38400 ? speed : 0;
}

/* Where they are in c_cflag, usr/src/lib/libc/port/gen/cf[gs]et[io]speed.c. */
ILLUMOS(unsigned, cfgetospeed, (const struct il_termios *t))
{
	return (t->cflag & IL_CBAUD) + (t->cflag & IL_CBAUDEXT ? IL_CBAUD + 1 : 0);
}

ILLUMOS(unsigned, cfgetispeed, (const struct il_termios *t))
{
	return ((t->cflag & IL_CIBAUD) >> IL_IBSHIFT) + (t->cflag & IL_CIBAUDEXT ? IL_CBAUD + 1 : 0);
}

static int bad_speed(unsigned speed)
{
	if (speed <= 2 * IL_CBAUD + 1)
		return 0;
	errno = EINVAL;
	return -1;
}

ILLUMOS(int, cfsetospeed, (struct il_termios *t, unsigned speed))
{
	if (bad_speed(speed) < 0)
		return -1;
	t->cflag &= ~(IL_CBAUD | IL_CBAUDEXT);
	t->cflag |= (speed & IL_CBAUD) | (speed > IL_CBAUD ? IL_CBAUDEXT : 0);
	return 0;
}

ILLUMOS(int, cfsetispeed, (struct il_termios *t, unsigned speed))
{
	if (bad_speed(speed) < 0)
		return -1;
	t->cflag &= ~(IL_CIBAUD | IL_CIBAUDEXT);
	t->cflag |= (speed & IL_CBAUD) << IL_IBSHIFT | (speed > IL_CBAUD ? IL_CIBAUDEXT : 0);
	return 0;
}

/* -- attributes -- */

/* Control characters whose place both know, as {illumos, Linux}; VEOF and VEOL are treated on their own. */
static const unsigned char characters[][2] = {
	{0, VINTR}, {1, VQUIT}, {2, VERASE}, {3, VKILL}, {IL_VEOL2, VEOL2}, {IL_VSWTCH, VSWTC}, {8, VSTART}, {9, VSTOP},
	{10, VSUSP}, {12, VREPRINT}, {13, VDISCARD}, {14, VWERASE}, {15, VLNEXT},
};
#define CHARACTERS (sizeof characters / sizeof *characters)

static void termios_to_illumos(const struct termios *from, struct il_termios *to)
{
	bool canonical = (from->c_lflag & ICANON) != 0;
	*to = (struct il_termios){
		.iflag = from->c_iflag & IL_IFLAG_SHARED,
		.oflag = from->c_oflag & IL_OFLAG_SHARED,
		.cflag = from->c_cflag & IL_CFLAG_SHARED,
		.lflag = (from->c_lflag & IL_LFLAG_SHARED) | (from->c_lflag & FLUSHO ? IL_FLUSHO : 0),
	};
	for (size_t i = 0; i < CHARACTERS; i++)
		to->cc[characters[i][0]] = from->c_cc[characters[i][1]];
	to->cc[IL_VEOF] = from->c_cc[canonical ? VEOF : VMIN];
	to->cc[IL_VEOL] = from->c_cc[canonical ? VEOL : VTIME];
	il_cfsetospeed(to, speed_to_illumos(cfgetospeed(from)));
	il_cfsetispeed(to, speed_to_illumos(cfgetispeed(from)));
}

/* `to` holds the present attributes: what illumos has no word for stays. */
static int termios_to_linux(const struct il_termios *from, struct termios *to)
{
	bool canonical = (from->lflag & ICANON) != 0;
	speed_t out, in;
	unsigned in_code = il_cfgetispeed(from);
	if (!speed_to_linux(il_cfgetospeed(from), &out) || !speed_to_linux(in_code, &in)) {
		errno = EINVAL;
		return -1;
	}
	to->c_iflag = (to->c_iflag & ~IL_IFLAG_SHARED) | (from->iflag & IL_IFLAG_SHARED);
	to->c_oflag = (to->c_oflag & ~IL_OFLAG_SHARED) | (from->oflag & IL_OFLAG_SHARED);
	to->c_cflag = (to->c_cflag & ~IL_CFLAG_SHARED) | (from->cflag & IL_CFLAG_SHARED);
	to->c_lflag = (to->c_lflag & ~(IL_LFLAG_SHARED | FLUSHO)) | (from->lflag & IL_LFLAG_SHARED) |
		(from->lflag & IL_FLUSHO ? FLUSHO : 0);
	for (size_t i = 0; i < CHARACTERS; i++)
		to->c_cc[characters[i][1]] = from->cc[characters[i][0]];
	to->c_cc[canonical ? VEOF : VMIN] = from->cc[IL_VEOF];
	to->c_cc[canonical ? VEOL : VTIME] = from->cc[IL_VEOL];
	cfsetospeed(to, out);
	/* An input speed of 0 is that of the output. */
	cfsetispeed(to, in_code == 0 ? out : in);
	return 0;
}

static int get_attributes(int fd, struct il_termios *to)
{
	struct termios own;
	if (tcgetattr(fd, &own) < 0)
		return -1;
	termios_to_illumos(&own, to);
	return 0;
}

ILLUMOS(int, tcgetattr, (int fd, struct il_termios *to))
{
	LOOKS("tcgetattr", "%d", fd);
	DONE(get_attributes(fd, to));
}

ILLUMOS(int, tcsetattr, (int fd, int action, const struct il_termios *from))
{
	CHANGES("tcsetattr", "%d, %#x, %#o, %#o, %#o, %#o", fd, action, from->iflag, from->oflag, from->cflag, from->lflag);
	struct termios own;
	if (action < IL_TCSANOW || action > IL_TCSAFLUSH) {
		errno = EINVAL;
		DONE(-1);
	}
	if (tcgetattr(fd, &own) < 0 || termios_to_linux(from, &own) < 0)
		DONE(-1);
	/* TCSANOW to TCSAFLUSH are consecutive on both. */
	DONE(tcsetattr(fd, action - IL_TCSANOW + TCSANOW, &own));
}

ILLUMOS(int, tcdrain, (int fd))
{
	LOOKS("tcdrain", "%d", fd);
	DONE(tcdrain(fd));
}

/* TCIFLUSH to TCIOFLUSH and TCOOFF to TCION are the same. */
ILLUMOS(int, tcflush, (int fd, int queue))
{
	CHANGES("tcflush", "%d, %d", fd, queue);
	DONE(tcflush(fd, queue));
}

ILLUMOS(int, tcflow, (int fd, int action))
{
	CHANGES("tcflow", "%d, %d", fd, action);
	DONE(tcflow(fd, action));
}

ILLUMOS(int, tcsendbreak, (int fd, int duration))
{
	CHANGES("tcsendbreak", "%d, %d", fd, duration);
	DONE(tcsendbreak(fd, duration));
}

/* -- ioctl(2): the requests whose argument is the same on both, and whether they change something -- */
static const struct {
	int illumos;
	const char *name;
	unsigned long linux_request;
	bool changes;
} requests[] = {
	{IL_TIOCSWINSZ, "TIOCSWINSZ", TIOCSWINSZ, true},
	{IL_TIOCGWINSZ, "TIOCGWINSZ", TIOCGWINSZ, false},
	{IL_TIOCEXCL, "TIOCEXCL", TIOCEXCL, true},
	{IL_TIOCNXCL, "TIOCNXCL", TIOCNXCL, true},
	{IL_TIOCGPGRP, "TIOCGPGRP", TIOCGPGRP, false},
	{IL_TIOCSPGRP, "TIOCSPGRP", TIOCSPGRP, true},
	{IL_TIOCGSID, "TIOCGSID", TIOCGSID, false},
	{IL_TIOCMSET, "TIOCMSET", TIOCMSET, true},
	{IL_TIOCMBIS, "TIOCMBIS", TIOCMBIS, true},
	{IL_TIOCMBIC, "TIOCMBIC", TIOCMBIC, true},
	{IL_TIOCMGET, "TIOCMGET", TIOCMGET, false},
	{IL_TIOCNOTTY, "TIOCNOTTY", TIOCNOTTY, true},
	{IL_TIOCOUTQ, "TIOCOUTQ", TIOCOUTQ, false},
	{IL_TIOCSBRK, "TIOCSBRK", TIOCSBRK, true},
	{IL_TIOCCBRK, "TIOCCBRK", TIOCCBRK, true},
	{IL_TIOCSCTTY, "TIOCSCTTY", TIOCSCTTY, true},
	{IL_TCSBRK, "TCSBRK", TCSBRK, true},
	{IL_TCXONC, "TCXONC", TCXONC, true},
	{IL_TCFLSH, "TCFLSH", TCFLSH, true},
	{IL_FIOCLEX, "FIOCLEX", FIOCLEX, false},
	{IL_FIONCLEX, "FIONCLEX", FIONCLEX, false},
	{IL_FIONREAD, "FIONREAD", FIONREAD, false},
	{(int)IL_FIONBIO, "FIONBIO", FIONBIO, false},
};

ILLUMOS(int, ioctl, (int fd, int request, uintptr_t argument))
{
	for (size_t i = 0; i < sizeof requests / sizeof *requests; i++)
		if (requests[i].illumos == request) {
			struct shim_call call;
			if (shim_enter(&call, requests[i].changes, "ioctl", "%d, %s", fd, requests[i].name))
				DONE(-1);
			DONE(ioctl(fd, requests[i].linux_request, argument));
		}
	switch (request) {
	case IL_TCGETS: {
		LOOKS("ioctl", "%d, TCGETS", fd);
		DONE(get_attributes(fd, (struct il_termios *)argument));
	}
	case IL_TCSANOW:
	case IL_TCSADRAIN:
	case IL_TCSAFLUSH:
		return il_tcsetattr(fd, request, (const struct il_termios *)argument);
	case IL_DKIOCGMEDIAINFO:
	case IL_DKIOCREMOVABLE:
		return shim_disk_ioctl(fd, request, (void *)argument);
	default:
		/* The first letter of the name's group, if it is one, helps to find the request in illumos' headers. */
		shim_die("ioctl: request %#x ('%c', %d) is unknown", request,
			(request >> 8 & 0x7f) > ' ' ? request >> 8 & 0x7f : '?', request & 0xff);
	}
}

ILLUMOS(int, posix_openpt, (int flags))
{
	LOOKS("posix_openpt", "%#x", flags);
	struct shim_at at;
	shim_at(&at, AT_FDCWD, "/dev/ptmx");
	DONE(openat(at.fd, at.path, shim_open_flags_to_linux(flags)));
}
