//! Terminals, on a pseudo-terminal of the host.

use std::ffi::CStr;

use nix::libc;

use crate::{outcome, zeroed};

/// Both ends of a new pseudo-terminal: the controlling side, and the terminal itself.
fn terminal() -> (i32, i32) {
    // SAFETY: the name is used before the next call for one.
    unsafe {
        let main = libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY);
        assert!(main >= 0);
        assert_eq!(libc::grantpt(main), 0);
        assert_eq!(libc::unlockpt(main), 0);
        let name = CStr::from_ptr(libc::ptsname(main));
        let end = libc::open(name.as_ptr(), libc::O_RDWR | libc::O_NOCTTY);
        assert!(end >= 0);
        (main, end)
    }
}

fn attributes(fd: i32) -> libc::termios {
    let mut settings: libc::termios = zeroed();
    // SAFETY: a pointer to a live value.
    assert_eq!(unsafe { libc::tcgetattr(fd, &raw mut settings) }, 0);
    settings
}

fn set(fd: i32, settings: &libc::termios) -> Result<i32, i32> {
    // SAFETY: a pointer to a live value.
    outcome(unsafe { libc::tcsetattr(fd, libc::TCSANOW, settings) })
}

#[test]
fn settings_come_back_as_they_were_set() {
    let (main, end) = terminal();
    let mut settings = attributes(end);
    assert_ne!(settings.c_lflag & libc::ICANON, 0);
    assert_eq!(settings.c_cc[libc::VEOF], 4);
    assert_eq!(settings.c_cc[libc::VINTR], 3);

    // Canonical mode: the cells 4 and 5 are the ends of file and line.
    settings.c_cc[libc::VEOF] = 26;
    settings.c_cc[libc::VEOL] = 33;
    settings.c_cc[libc::VSUSP] = 25;
    assert_eq!(set(end, &settings), Ok(0));
    let seen = attributes(end);
    assert_eq!((seen.c_cc[libc::VEOF], seen.c_cc[libc::VEOL], seen.c_cc[libc::VSUSP]), (26, 33, 25));

    // Raw mode: they are the count and the time.
    // SAFETY: a pointer to a live value.
    unsafe { libc::cfmakeraw(&raw mut settings) };
    settings.c_cc[libc::VMIN] = 7;
    settings.c_cc[libc::VTIME] = 9;
    settings.c_cflag |= libc::CLOCAL | libc::HUPCL | libc::CRTSCTS;
    assert_eq!(set(end, &settings), Ok(0));
    let seen = attributes(end);
    assert_eq!((seen.c_cc[libc::VMIN], seen.c_cc[libc::VTIME]), (7, 9));
    assert_eq!(seen.c_lflag & (libc::ICANON | libc::ECHO | libc::ISIG | libc::IEXTEN), 0);
    assert_eq!(seen.c_oflag & libc::OPOST, 0);
    let kept = libc::CLOCAL | libc::HUPCL | libc::CRTSCTS | libc::CS8;
    assert_eq!(seen.c_cflag & kept, kept);

    // SAFETY: descriptors of this test.
    unsafe {
        assert_eq!(outcome(libc::tcsetattr(end, 0, &raw const settings)), Err(libc::EINVAL));
        libc::close(end);
        libc::close(main);
    }
}

#[test]
fn speeds_are_codes() {
    let (main, end) = terminal();
    for speed in [libc::B9600, libc::B38400, libc::B57600, libc::B115200, libc::B921600] {
        let mut settings = attributes(end);
        // SAFETY: pointers to live values.
        unsafe {
            assert_eq!(libc::cfsetispeed(&raw mut settings, speed), 0);
            assert_eq!(libc::cfsetospeed(&raw mut settings, speed), 0);
            assert_eq!(set(end, &settings), Ok(0));
            let seen = attributes(end);
            assert_eq!(
                (libc::cfgetospeed(&raw const seen), libc::cfgetispeed(&raw const seen)),
                (speed, speed)
            );
        }
    }
    // SAFETY: descriptors of this test.
    unsafe {
        libc::close(end);
        libc::close(main);
    }
}

#[test]
fn ioctls_have_illumos_numbers() {
    let (main, end) = terminal();
    let mut size: libc::winsize = zeroed();
    (size.ws_row, size.ws_col) = (24, 80);
    // SAFETY: pointers to live values of the kind that each request wants.
    unsafe {
        assert_eq!(libc::ioctl(main, libc::TIOCSWINSZ, &raw const size), 0);
        let mut seen: libc::winsize = zeroed();
        assert_eq!(libc::ioctl(end, libc::TIOCGWINSZ, &raw mut seen), 0);
        assert_eq!((seen.ws_row, seen.ws_col), (24, 80));
        assert_eq!(libc::ioctl(end, libc::TIOCEXCL), 0);
        assert_eq!(libc::ioctl(end, libc::TIOCNXCL), 0);
        assert_eq!(libc::write(main, c"four\n".as_ptr().cast(), 5), 5);
        let mut ready = libc::pollfd { fd: end, events: libc::POLLIN, revents: 0 };
        assert_eq!((libc::poll(&raw mut ready, 1, -1), ready.revents), (1, libc::POLLIN));
        let mut waiting = 0_i32;
        assert_eq!(libc::ioctl(end, libc::FIONREAD, &raw mut waiting), 0);
        assert_eq!(waiting, 5);
        assert_eq!(libc::tcflush(end, libc::TCIFLUSH), 0);
        assert_eq!(libc::ioctl(end, libc::FIONREAD, &raw mut waiting), 0);
        assert_eq!(waiting, 0);
        assert_eq!(libc::isatty(end), 1);
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        let mut none: libc::termios = zeroed();
        assert_eq!(outcome(libc::tcgetattr(null, &raw mut none)), Err(libc::ENOTTY));
        for fd in [null, end, main] {
            libc::close(fd);
        }
    }
}
