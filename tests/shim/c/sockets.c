/* Sockets. */
#include "shim.h"
#include "illumos/sockets.h"
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* SOCK_NONBLOCK works since OS-2220, 2013-05-13; accept4, and with it a SOCK_CLOEXEC that reaches both ends of a pair,
 * came on 2013-05-08. */
#define SOCK_NONBLOCK_SINCE 20130513
#define PAIR_CLOEXEC_SINCE 20130508

int shim_family_to_linux(int illumos)
{
	switch (illumos) {
	case 0:
	case IL_AF_UNIX:
	case IL_AF_INET:
		return illumos;
	case IL_AF_INET6:
		return AF_INET6;
	default:
		return -1;
	}
}

int shim_family_to_illumos(int family)
{
	return family == AF_INET6 ? IL_AF_INET6 : family;
}

int shim_socket_type_to_linux(int illumos)
{
	switch (illumos) {
	case IL_SOCK_DGRAM:
		return SOCK_DGRAM;
	case IL_SOCK_STREAM:
		return SOCK_STREAM;
	case IL_SOCK_RAW:
		return SOCK_RAW;
	case IL_SOCK_SEQPACKET:
		return SOCK_SEQPACKET;
	default:
		return illumos == 0 ? 0 : -1;
	}
}

int shim_socket_type_to_illumos(int type)
{
	switch (type) {
	case SOCK_DGRAM:
		return IL_SOCK_DGRAM;
	case SOCK_STREAM:
		return IL_SOCK_STREAM;
	case SOCK_RAW:
		return IL_SOCK_RAW;
	default:
		return type == SOCK_SEQPACKET ? IL_SOCK_SEQPACKET : 0;
	}
}

/* The type and flags argument of socket(3C); false with errno for an unknown type. */
static bool type_to_linux(int illumos, int *type)
{
	int own = shim_socket_type_to_linux(illumos & IL_SOCK_TYPE_MASK);
	int flags = illumos & ~IL_SOCK_TYPE_MASK;
	if (flags & ~(IL_SOCK_CLOEXEC | IL_SOCK_NONBLOCK))
		shim_die("socket: flags %#x are unknown", flags);
	if (own <= 0) {
		errno = ESOCKTNOSUPPORT;
		return false;
	}
	*type = own | (flags & IL_SOCK_CLOEXEC ? SOCK_CLOEXEC : 0);
	if (flags & IL_SOCK_NONBLOCK && shim_settings.platform >= SOCK_NONBLOCK_SINCE)
		*type |= SOCK_NONBLOCK;
	return true;
}

/* -- addresses -- */
union address {
	struct sockaddr any;
	struct sockaddr_storage storage;
	unsigned char bytes[256];
};

/* Fills in Linux' form and says how long it is; 0, with errno, if there is none. */
socklen_t shim_address_to_linux(const void *illumos, socklen_t size, union address *to)
{
	if (size < sizeof(uint16_t) || size > sizeof(struct sockaddr_storage)) {
		errno = EINVAL;
		return 0;
	}
	memset(to, 0, sizeof *to);
	memcpy(to, illumos, size);
	int family = shim_family_to_linux(to->any.sa_family);
	if (family < 0) {
		errno = EAFNOSUPPORT;
		return 0;
	}
	to->any.sa_family = family;
	if (family == AF_INET6 && size > sizeof(struct sockaddr_in6))
		size = sizeof(struct sockaddr_in6);
	return size;
}

/* The other way: at most *room bytes are written, and *room becomes the address's whole size. */
void shim_address_to_illumos(const void *linux_address, socklen_t size, void *to, socklen_t *room)
{
	union address own = {0};
	memcpy(&own, linux_address, size > sizeof own ? sizeof own : size);
	own.any.sa_family = shim_family_to_illumos(own.any.sa_family);
	if (own.any.sa_family == IL_AF_INET6)
		size = sizeof(struct il_sockaddr_in6);
	memcpy(to, &own, size < *room ? size : *room);
	*room = size;
}

static int give_address(int result, const union address *own, socklen_t size, void *to, socklen_t *room)
{
	if (result >= 0 && to != NULL && room != NULL)
		shim_address_to_illumos(own, size, to, room);
	return result;
}

/* -- making and connecting. The names with __xnet_ are what programs built for SUSv3 get. -- */
ILLUMOS(int, __xnet_socket, (int family, int illumos_type, int protocol))
{
	CHANGES("socket", "%d, %#x, %d", family, illumos_type, protocol);
	int type, own = shim_family_to_linux(family);
	if (own < 0) {
		errno = EAFNOSUPPORT;
		DONE(-1);
	}
	DONE(type_to_linux(illumos_type, &type) ? socket(own, type, protocol) : -1);
}

ILLUMOS(int, socket, (int family, int type, int protocol))
{
	return il___xnet_socket(family, type, protocol);
}

ILLUMOS(int, __xnet_socketpair, (int family, int illumos_type, int protocol, int ends[2]))
{
	CHANGES("socketpair", "%d, %#x, %d", family, illumos_type, protocol);
	int type;
	if (!type_to_linux(illumos_type, &type))
		DONE(-1);
	int result = socketpair(shim_family_to_linux(family), type, protocol, ends);
	if (result == 0 && shim_settings.platform < PAIR_CLOEXEC_SINCE)
		fcntl(ends[1], F_SETFD, 0);
	DONE(result);
}

ILLUMOS(int, socketpair, (int family, int type, int protocol, int ends[2]))
{
	return il___xnet_socketpair(family, type, protocol, ends);
}

ILLUMOS(int, __xnet_bind, (int fd, const void *address, socklen_t size))
{
	CHANGES("bind", "%d", fd);
	union address own;
	size = shim_address_to_linux(address, size, &own);
	DONE(size == 0 ? -1 : bind(fd, &own.any, size));
}

ILLUMOS(int, bind, (int fd, const void *address, socklen_t size))
{
	return il___xnet_bind(fd, address, size);
}

ILLUMOS(int, __xnet_listen, (int fd, int backlog))
{
	CHANGES("listen", "%d, %d", fd, backlog);
	DONE(listen(fd, backlog));
}

ILLUMOS(int, listen, (int fd, int backlog))
{
	return il___xnet_listen(fd, backlog);
}

ILLUMOS(int, __xnet_connect, (int fd, const void *address, socklen_t size))
{
	CHANGES("connect", "%d", fd);
	union address own;
	size = shim_address_to_linux(address, size, &own);
	DONE(size == 0 ? -1 : connect(fd, &own.any, size));
}

ILLUMOS(int, connect, (int fd, const void *address, socklen_t size))
{
	return il___xnet_connect(fd, address, size);
}

static int accept_with(const char *name, int fd, void *address, socklen_t *room, int flags)
{
	CHANGES(name, "%d, %#x", fd, flags);
	union address own;
	socklen_t size = sizeof own;
	int own_flags = (flags & IL_SOCK_CLOEXEC ? SOCK_CLOEXEC : 0) | (flags & IL_SOCK_NONBLOCK ? SOCK_NONBLOCK : 0);
	DONE(give_address(accept4(fd, &own.any, &size, own_flags), &own, size, address, room));
}

ILLUMOS(int, accept, (int fd, void *address, socklen_t *room))
{
	return accept_with("accept", fd, address, room, 0);
}

ILLUMOS(int, accept4, (int fd, void *address, socklen_t *room, int flags))
{
	return accept_with("accept4", fd, address, room, flags);
}

ILLUMOS(int, getsockname, (int fd, void *address, socklen_t *room))
{
	LOOKS("getsockname", "%d", fd);
	union address own;
	socklen_t size = sizeof own;
	DONE(give_address(getsockname(fd, &own.any, &size), &own, size, address, room));
}

ILLUMOS(int, getpeername, (int fd, void *address, socklen_t *room))
{
	LOOKS("getpeername", "%d", fd);
	union address own;
	socklen_t size = sizeof own;
	DONE(give_address(getpeername(fd, &own.any, &size), &own, size, address, room));
}

/* SHUT_RD to SHUT_RDWR are the same. */
ILLUMOS(int, shutdown, (int fd, int how))
{
	CHANGES("shutdown", "%d, %d", fd, how);
	DONE(shutdown(fd, how));
}

/* -- options -- */
static const struct option {
	int level, illumos, linux_level, linux_option;
} options[] = {
	{IL_SOL_SOCKET, IL_SO_DEBUG, SOL_SOCKET, SO_DEBUG},
	{IL_SOL_SOCKET, IL_SO_ACCEPTCONN, SOL_SOCKET, SO_ACCEPTCONN},
	{IL_SOL_SOCKET, IL_SO_REUSEADDR, SOL_SOCKET, SO_REUSEADDR},
	{IL_SOL_SOCKET, IL_SO_KEEPALIVE, SOL_SOCKET, SO_KEEPALIVE},
	{IL_SOL_SOCKET, IL_SO_DONTROUTE, SOL_SOCKET, SO_DONTROUTE},
	{IL_SOL_SOCKET, IL_SO_BROADCAST, SOL_SOCKET, SO_BROADCAST},
	{IL_SOL_SOCKET, IL_SO_LINGER, SOL_SOCKET, SO_LINGER},
	{IL_SOL_SOCKET, IL_SO_OOBINLINE, SOL_SOCKET, SO_OOBINLINE},
	{IL_SOL_SOCKET, IL_SO_SNDBUF, SOL_SOCKET, SO_SNDBUF},
	{IL_SOL_SOCKET, IL_SO_RCVBUF, SOL_SOCKET, SO_RCVBUF},
	{IL_SOL_SOCKET, IL_SO_SNDLOWAT, SOL_SOCKET, SO_SNDLOWAT},
	{IL_SOL_SOCKET, IL_SO_RCVLOWAT, SOL_SOCKET, SO_RCVLOWAT},
	{IL_SOL_SOCKET, IL_SO_SNDTIMEO, SOL_SOCKET, SO_SNDTIMEO},
	{IL_SOL_SOCKET, IL_SO_RCVTIMEO, SOL_SOCKET, SO_RCVTIMEO},
	{IL_SOL_SOCKET, IL_SO_ERROR, SOL_SOCKET, SO_ERROR},
	{IL_SOL_SOCKET, IL_SO_TYPE, SOL_SOCKET, SO_TYPE},
	{IL_SOL_SOCKET, IL_SO_PROTOTYPE, SOL_SOCKET, SO_PROTOCOL},
	{IL_SOL_SOCKET, IL_SO_DOMAIN, SOL_SOCKET, SO_DOMAIN},
	{IPPROTO_IP, IL_IP_TOS, IPPROTO_IP, IP_TOS},
	{IPPROTO_IP, IL_IP_TTL, IPPROTO_IP, IP_TTL},
	{IPPROTO_IP, IL_IP_MULTICAST_IF, IPPROTO_IP, IP_MULTICAST_IF},
	{IPPROTO_IP, IL_IP_MULTICAST_TTL, IPPROTO_IP, IP_MULTICAST_TTL},
	{IPPROTO_IP, IL_IP_MULTICAST_LOOP, IPPROTO_IP, IP_MULTICAST_LOOP},
	{IPPROTO_IP, IL_IP_ADD_MEMBERSHIP, IPPROTO_IP, IP_ADD_MEMBERSHIP},
	{IPPROTO_IP, IL_IP_DROP_MEMBERSHIP, IPPROTO_IP, IP_DROP_MEMBERSHIP},
	{IPPROTO_IPV6, IL_IPV6_UNICAST_HOPS, IPPROTO_IPV6, IPV6_UNICAST_HOPS},
	{IPPROTO_IPV6, IL_IPV6_V6ONLY, IPPROTO_IPV6, IPV6_V6ONLY},
	{IPPROTO_TCP, IL_TCP_NODELAY, IPPROTO_TCP, TCP_NODELAY},
	{IPPROTO_TCP, IL_TCP_MAXSEG, IPPROTO_TCP, TCP_MAXSEG},
	{IPPROTO_TCP, IL_TCP_KEEPIDLE, IPPROTO_TCP, TCP_KEEPIDLE},
	{IPPROTO_TCP, IL_TCP_KEEPCNT, IPPROTO_TCP, TCP_KEEPCNT},
	{IPPROTO_TCP, IL_TCP_KEEPINTVL, IPPROTO_TCP, TCP_KEEPINTVL},
};

static const struct option *option_to_linux(int level, int option)
{
	for (size_t i = 0; i < sizeof options / sizeof *options; i++)
		if (options[i].level == level && options[i].illumos == option)
			return &options[i];
	shim_die("socket option %#x of level %#x is unknown", option, level);
}

static bool is_timeout(const struct option *option)
{
	return option->linux_level == SOL_SOCKET &&
		(option->linux_option == SO_RCVTIMEO || option->linux_option == SO_SNDTIMEO);
}

ILLUMOS(int, setsockopt, (int fd, int level, int illumos, const void *value, socklen_t size))
{
	CHANGES("setsockopt", "%d, %#x, %#x", fd, level, illumos);
	const struct option *option = option_to_linux(level, illumos);
	struct timeval real;
	if (is_timeout(option) && size >= sizeof real) {
		const struct timeval *asked = value;
		struct timespec t = {.tv_sec = asked->tv_sec, .tv_nsec = asked->tv_usec * 1000};
		t = shim_real_duration(&t);
		real = (struct timeval){.tv_sec = t.tv_sec, .tv_usec = (t.tv_nsec + 999) / 1000};
		value = &real;
	}
	DONE(setsockopt(fd, option->linux_level, option->linux_option, value, size));
}

ILLUMOS(int, __xnet_getsockopt, (int fd, int level, int illumos, void *value, socklen_t *size))
{
	LOOKS("getsockopt", "%d, %#x, %#x", fd, level, illumos);
	const struct option *option = option_to_linux(level, illumos);
	int result = getsockopt(fd, option->linux_level, option->linux_option, value, size);
	if (result == 0 && option->linux_level == SOL_SOCKET) {
		int *number = value;
		if (is_timeout(option)) {
			struct timeval *t = value;
			int64_t all = (t->tv_sec * 1000000 + t->tv_usec) * shim_settings.time_scale;
			*t = (struct timeval){.tv_sec = all / 1000000, .tv_usec = all % 1000000};
		} else if (option->linux_option == SO_ERROR) {
			*number = shim_errno_to_illumos(*number);
		} else if (option->linux_option == SO_TYPE) {
			*number = shim_socket_type_to_illumos(*number);
		} else if (option->linux_option == SO_DOMAIN) {
			*number = shim_family_to_illumos(*number);
		}
	}
	DONE(result);
}

ILLUMOS(int, getsockopt, (int fd, int level, int option, void *value, socklen_t *size))
{
	return il___xnet_getsockopt(fd, level, option, value, size);
}

/* -- sending and receiving -- */
static const struct {
	int illumos, linux_flag;
} message_flags[] = {
	{IL_MSG_OOB, MSG_OOB}, {IL_MSG_PEEK, MSG_PEEK}, {IL_MSG_DONTROUTE, MSG_DONTROUTE}, {IL_MSG_EOR, MSG_EOR},
	{IL_MSG_CTRUNC, MSG_CTRUNC}, {IL_MSG_TRUNC, MSG_TRUNC}, {IL_MSG_WAITALL, MSG_WAITALL},
	{IL_MSG_DONTWAIT, MSG_DONTWAIT}, {IL_MSG_NOSIGNAL, MSG_NOSIGNAL}, {IL_MSG_CMSG_CLOEXEC, MSG_CMSG_CLOEXEC},
	{IL_MSG_XPG4_2, 0},
};
#define MESSAGE_FLAGS (sizeof message_flags / sizeof *message_flags)

static int message_flags_to_linux(int illumos)
{
	int flags = 0;
	for (size_t i = 0; i < MESSAGE_FLAGS; i++)
		if (illumos & message_flags[i].illumos) {
			flags |= message_flags[i].linux_flag;
			illumos &= ~message_flags[i].illumos;
		}
	if (illumos != 0)
		shim_die("message flags %#x are unknown", illumos);
	return flags;
}

static int message_flags_to_illumos(int flags)
{
	int illumos = 0;
	for (size_t i = 0; i < MESSAGE_FLAGS; i++)
		if (flags & message_flags[i].linux_flag)
			illumos |= message_flags[i].illumos;
	return illumos;
}

ILLUMOS(ssize_t, send, (int fd, const void *buffer, size_t size, int flags))
{
	CHANGES("send", "%d, %zu, %#x", fd, size, flags);
	DONE(send(fd, buffer, call.half ? size / 2 : size, message_flags_to_linux(flags)));
}

ILLUMOS(ssize_t, __xnet_sendto,
	(int fd, const void *buffer, size_t size, int flags, const void *address, socklen_t address_size))
{
	CHANGES("sendto", "%d, %zu, %#x", fd, size, flags);
	union address own;
	if (address != NULL) {
		address_size = shim_address_to_linux(address, address_size, &own);
		if (address_size == 0)
			DONE(-1);
	}
	DONE(sendto(fd, buffer, size, message_flags_to_linux(flags), address == NULL ? NULL : &own.any, address_size));
}

ILLUMOS(ssize_t, sendto,
	(int fd, const void *buffer, size_t size, int flags, const void *address, socklen_t address_size))
{
	return il___xnet_sendto(fd, buffer, size, flags, address, address_size);
}

ILLUMOS(ssize_t, recv, (int fd, void *buffer, size_t size, int flags))
{
	LOOKS("recv", "%d, %zu, %#x", fd, size, flags);
	DONE(recv(fd, buffer, size, message_flags_to_linux(flags)));
}

ILLUMOS(ssize_t, recvfrom, (int fd, void *buffer, size_t size, int flags, void *address, socklen_t *room))
{
	LOOKS("recvfrom", "%d, %zu, %#x", fd, size, flags);
	union address own;
	socklen_t own_size = sizeof own;
	ssize_t result = recvfrom(fd, buffer, size, message_flags_to_linux(flags), &own.any, &own_size);
	if (result >= 0)
		give_address(0, &own, own_size, address, room);
	DONE(result);
}

/* Descriptors are the only control messages that programs of ours could send. */
ILLUMOS(ssize_t, __xnet_sendmsg, (int fd, const struct il_msghdr *message, int flags))
{
	CHANGES("sendmsg", "%d, %#x", fd, flags);
	union address name;
	struct msghdr own = {.msg_iov = message->iov, .msg_iovlen = message->iovlen};
	if (message->name != NULL) {
		own.msg_namelen = shim_address_to_linux(message->name, message->namelen, &name);
		own.msg_name = &name;
		if (own.msg_namelen == 0)
			DONE(-1);
	}
	if (message->controllen != 0)
		shim_die("sendmsg: control messages are not implemented");
	DONE(sendmsg(fd, &own, message_flags_to_linux(flags)));
}

ILLUMOS(ssize_t, __xnet_recvmsg, (int fd, struct il_msghdr *message, int flags))
{
	LOOKS("recvmsg", "%d, %#x", fd, flags);
	union address name;
	struct msghdr own = {.msg_name = &name, .msg_namelen = sizeof name, .msg_iov = message->iov, .msg_iovlen = message->iovlen};
	ssize_t result = recvmsg(fd, &own, message_flags_to_linux(flags));
	if (result >= 0) {
		if (message->name != NULL)
			shim_address_to_illumos(&name, own.msg_namelen, message->name, &message->namelen);
		/* Control messages that came are dropped, as with no room for them. */
		message->flags = message_flags_to_illumos(own.msg_flags);
		message->controllen = 0;
	}
	DONE(result);
}

ILLUMOS(ssize_t, sendmsg, (int fd, const struct il_msghdr *message, int flags))
{
	return il___xnet_sendmsg(fd, message, flags);
}

ILLUMOS(ssize_t, recvmsg, (int fd, struct il_msghdr *message, int flags))
{
	return il___xnet_recvmsg(fd, message, flags);
}
