//! Sockets, names and interfaces.

use std::ffi::CStr;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::libc;

use crate::{outcome, zeroed};

fn option(fd: i32, name: i32) -> i32 {
    let (mut value, mut size) = (0_i32, 4);
    // SAFETY: pointers to live values.
    let result =
        unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, name, (&raw mut value).cast(), &raw mut size) };
    assert_eq!((result, size), (0, 4));
    value
}

#[test]
fn addresses_of_version_6_have_illumos_size() {
    let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
    let mut address: libc::sockaddr_in6 = zeroed();
    let mut size = 32;
    // SAFETY: the address is as large as said.
    let result = unsafe { libc::getsockname(listener.as_raw_fd(), (&raw mut address).cast(), &raw mut size) };
    assert_eq!((result, size), (0, 32));
    assert_eq!(i32::from(address.sin6_family), libc::AF_INET6);
    assert_eq!(u16::from_be(address.sin6_port), listener.local_addr().unwrap().port());
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, peer) = listener.accept().unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
    client.write_all(b"six").unwrap();
    let mut bytes = [0; 3];
    server.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"six");
}

#[test]
fn options_have_illumos_numbers() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    assert_eq!(option(socket.as_raw_fd(), libc::SO_TYPE), libc::SOCK_DGRAM);
    assert_eq!(option(socket.as_raw_fd(), libc::SO_DOMAIN), libc::AF_INET);
    assert_eq!(option(socket.as_raw_fd(), libc::SO_BROADCAST), 0);
    socket.set_broadcast(true).unwrap();
    assert_ne!(option(socket.as_raw_fd(), libc::SO_BROADCAST), 0);
    socket.set_ttl(33).unwrap();
    assert_eq!(socket.ttl().unwrap(), 33);
    let stream = TcpListener::bind("127.0.0.1:0").unwrap();
    assert_eq!(option(stream.as_raw_fd(), libc::SO_TYPE), libc::SOCK_STREAM);
    assert_eq!(option(stream.as_raw_fd(), libc::SO_ACCEPTCONN), 1);
}

#[test]
fn refused_and_late_are_told_by_illumos_numbers() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = TcpStream::connect(address).unwrap_err();
    assert_eq!(
        (error.kind(), error.raw_os_error()),
        (ErrorKind::ConnectionRefused, Some(libc::ECONNREFUSED))
    );
    // With a timeout the error comes by way of SO_ERROR.
    let error = TcpStream::connect_timeout(&address, Duration::from_mins(1)).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ECONNREFUSED));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    assert_eq!(socket.recv(&mut [0]).unwrap_err().raw_os_error(), Some(libc::EAGAIN));
}

#[test]
fn datagrams_tell_where_they_come_from() {
    let (one, two) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    assert_eq!(one.send_to(b"hello", two.local_addr().unwrap()).unwrap(), 5);
    let mut bytes = [0; 9];
    assert_eq!(two.recv_from(&mut bytes).unwrap(), (5, one.local_addr().unwrap()));
}

#[test]
fn a_wait_tells_which_events_came() {
    let mut ends = [0; 2];
    // SAFETY: pointers to live values, and descriptors of this test.
    unsafe {
        assert_eq!(libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, ends.as_mut_ptr()), 0);
        let mut wanted = libc::pollfd { fd: ends[0], events: libc::POLLIN | libc::POLLOUT, revents: 0 };
        assert_eq!(libc::poll(&raw mut wanted, 1, 0), 1);
        assert_eq!(wanted.revents, libc::POLLOUT);
        wanted.events = libc::POLLRDNORM;
        assert_eq!(libc::poll(&raw mut wanted, 1, 0), 0);
        libc::close(ends[1]);
        assert_eq!(libc::poll(&raw mut wanted, 1, 0), 1);
        assert_eq!(wanted.revents, libc::POLLRDNORM | libc::POLLHUP);
        libc::close(ends[0]);
        assert_eq!(libc::poll(&raw mut wanted, 1, 0), 1);
        assert_eq!(wanted.revents, libc::POLLNVAL);
    }
}

#[test]
fn names_are_resolved() {
    let found: Vec<SocketAddr> = "127.0.0.1:80".to_socket_addrs().unwrap().collect();
    assert_eq!(found, ["127.0.0.1:80".parse().unwrap()]);
    let mut hints: libc::addrinfo = zeroed();
    (hints.ai_family, hints.ai_socktype) = (libc::AF_INET6, libc::SOCK_STREAM);
    let mut list = std::ptr::null_mut();
    // SAFETY: the list is given back once read.
    unsafe {
        assert_eq!(libc::getaddrinfo(c"::1".as_ptr(), c"53".as_ptr(), &raw const hints, &raw mut list), 0);
        assert_eq!(((*list).ai_family, (*list).ai_socktype), (libc::AF_INET6, libc::SOCK_STREAM));
        assert_eq!((*list).ai_addrlen, 32);
        let address: *const libc::sockaddr_in6 = (*list).ai_addr.cast();
        assert_eq!(u16::from_be((*address).sin6_port), 53);
        libc::freeaddrinfo(list);
        hints.ai_flags = 0x20; // AI_NUMERICHOST
        let error =
            libc::getaddrinfo(c"no.number".as_ptr(), std::ptr::null(), &raw const hints, &raw mut list);
        assert_eq!(error, libc::EAI_NONAME);
        assert!(!CStr::from_ptr(libc::gai_strerror(error)).is_empty());
    }
}

#[test]
fn the_loopback_interface_is_found() {
    let mut list = std::ptr::null_mut();
    let mut found = false;
    // SAFETY: the list is walked while it lives.
    unsafe {
        assert_eq!(outcome(libc::getifaddrs(&raw mut list)), Ok(0));
        let mut entry: *const libc::ifaddrs = list;
        while !entry.is_null() {
            let address: *const libc::sockaddr_in = (*entry).ifa_addr.cast();
            if i32::from((*address).sin_family) == libc::AF_INET
                && u32::from_be((*address).sin_addr.s_addr) == 0x7f00_0001
            {
                let flags = (*entry).ifa_flags;
                assert_ne!(flags & libc::IFF_LOOPBACK as u64, 0);
                assert_ne!(flags & libc::IFF_UP as u64, 0);
                assert_ne!(flags & libc::IFF_IPV4 as u64, 0);
                found = true;
            }
            entry = (*entry).ifa_next;
        }
        libc::freeifaddrs(list);
    }
    assert!(found);
}
