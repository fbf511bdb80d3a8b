/* What illumos programs know of terminals and ioctls: usr/src/uts/common/sys/{termios,filio}.h. */
#pragma once
#include <stdint.h>

#define IL_NCCS 19
struct il_termios {
	uint32_t iflag, oflag, cflag, lflag;
	uint8_t cc[IL_NCCS];
};
_Static_assert(sizeof(struct il_termios) == 36, "sys/termios.h, struct termios");

/* Positions in c_cc. VMIN and VTIME share their cells with VEOF and VEOL: outside canonical mode the cell is the count. */
#define IL_VEOF 4
#define IL_VEOL 5
#define IL_VEOL2 6
#define IL_VSWTCH 7

/* Input modes (0017777, IMAXBEL 0020000) and output modes up to FFDLY have Linux' values. */
#define IL_IFLAG_SHARED 0037777
#define IL_OFLAG_SHARED 0177777

/* Control modes: CSIZE to CLOCAL and CRTSCTS have Linux' values, speeds have not. */
#define IL_CFLAG_SHARED (0007760u | 020000000000u)
#define IL_CBAUD 0000017
#define IL_CBAUDEXT 010000000
#define IL_CIBAUD 03600000
#define IL_CIBAUDEXT 020000000
#define IL_IBSHIFT 16

/* Local modes: ISIG to ECHOKE, PENDIN and IEXTEN are shared; FLUSHO is not, DEFECHO is unknown to Linux. */
#define IL_LFLAG_SHARED (0007777u | 0040000u | 0100000u)
#define IL_FLUSHO 0020000

/* tcsetattr(3C)'s actions are ioctl numbers. */
#define IL_TCSANOW 0x540e
#define IL_TCSADRAIN 0x540f
#define IL_TCSAFLUSH 0x5410

/* Speeds are codes: 0 to 15 as on Linux, then these. */
#define IL_B57600 16
#define IL_B115200 18
#define IL_B230400 20
#define IL_B460800 22
#define IL_B921600 23

#define IL_TIOC(n) (('T' << 8) | (n))
#define IL_tIOC(n) (('t' << 8) | (n))
#define IL_TCSBRK IL_TIOC(5)
#define IL_TCXONC IL_TIOC(6)
#define IL_TCFLSH IL_TIOC(7)
#define IL_TCGETS IL_TIOC(13)
#define IL_TIOCSWINSZ IL_TIOC(103)
#define IL_TIOCGWINSZ IL_TIOC(104)
#define IL_TIOCEXCL IL_tIOC(13)
#define IL_TIOCNXCL IL_tIOC(14)
#define IL_TIOCGPGRP IL_tIOC(20)
#define IL_TIOCSPGRP IL_tIOC(21)
#define IL_TIOCGSID IL_tIOC(22)
#define IL_TIOCMSET IL_tIOC(26)
#define IL_TIOCMBIS IL_tIOC(27)
#define IL_TIOCMBIC IL_tIOC(28)
#define IL_TIOCMGET IL_tIOC(29)
#define IL_TIOCNOTTY IL_tIOC(113)
#define IL_TIOCOUTQ IL_tIOC(115)
#define IL_TIOCCBRK IL_tIOC(122)
#define IL_TIOCSBRK IL_tIOC(123)
#define IL_TIOCSCTTY IL_tIOC(132)

/* sys/filio.h */
#define IL_FIOCLEX 0x20006601
#define IL_FIONCLEX 0x20006602
#define IL_FIONREAD 0x4004667f
#define IL_FIONBIO 0x8004667e
