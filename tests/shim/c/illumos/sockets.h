/* What illumos programs know of sockets: usr/src/uts/common/sys/{socket,socket_impl}.h, netinet/{in,tcp}.h, net/if.h,
 * usr/src/head/{netdb,ifaddrs}.h. */
#pragma once
#include <stdint.h>

#define IL_AF_UNIX 1
#define IL_AF_INET 2
#define IL_AF_INET6 26

#define IL_SOCK_DGRAM 1
#define IL_SOCK_STREAM 2
#define IL_SOCK_RAW 4
#define IL_SOCK_SEQPACKET 6
#define IL_SOCK_TYPE_MASK 0xffff
#define IL_SOCK_CLOEXEC 0x80000
#define IL_SOCK_NONBLOCK 0x100000

#define IL_SOL_SOCKET 0xffff
#define IL_SO_DEBUG 0x1
#define IL_SO_ACCEPTCONN 0x2
#define IL_SO_REUSEADDR 0x4
#define IL_SO_KEEPALIVE 0x8
#define IL_SO_DONTROUTE 0x10
#define IL_SO_BROADCAST 0x20
#define IL_SO_LINGER 0x80
#define IL_SO_OOBINLINE 0x100
#define IL_SO_SNDBUF 0x1001
#define IL_SO_RCVBUF 0x1002
#define IL_SO_SNDLOWAT 0x1003
#define IL_SO_RCVLOWAT 0x1004
#define IL_SO_SNDTIMEO 0x1005
#define IL_SO_RCVTIMEO 0x1006
#define IL_SO_ERROR 0x1007
#define IL_SO_TYPE 0x1008
#define IL_SO_PROTOTYPE 0x1009
#define IL_SO_DOMAIN 0x100c

#define IL_MSG_OOB 0x1
#define IL_MSG_PEEK 0x2
#define IL_MSG_DONTROUTE 0x4
#define IL_MSG_EOR 0x8
#define IL_MSG_CTRUNC 0x10
#define IL_MSG_TRUNC 0x20
#define IL_MSG_WAITALL 0x40
#define IL_MSG_DONTWAIT 0x80
#define IL_MSG_NOSIGNAL 0x200
#define IL_MSG_CMSG_CLOEXEC 0x1000
#define IL_MSG_XPG4_2 0x8000

/* netinet/in.h */
#define IL_IP_TOS 3
#define IL_IP_TTL 4
#define IL_IP_MULTICAST_IF 16
#define IL_IP_MULTICAST_TTL 17
#define IL_IP_MULTICAST_LOOP 18
#define IL_IP_ADD_MEMBERSHIP 19
#define IL_IP_DROP_MEMBERSHIP 20
#define IL_IPV6_UNICAST_HOPS 5
#define IL_IPV6_V6ONLY 0x27
/* netinet/tcp.h; the last three came after 2013. */
#define IL_TCP_NODELAY 1
#define IL_TCP_MAXSEG 2
#define IL_TCP_KEEPIDLE 34
#define IL_TCP_KEEPCNT 35
#define IL_TCP_KEEPINTVL 36

/* netinet/in.h: four bytes more than on Linux, and libraries check the length they get back. */
struct il_sockaddr_in6 {
	uint16_t family, port;
	uint32_t flowinfo;
	uint8_t addr[16];
	uint32_t scope_id, src_id;
};
_Static_assert(sizeof(struct il_sockaddr_in6) == 32, "netinet/in.h, struct sockaddr_in6");

struct il_msghdr {
	void *name;
	uint32_t namelen;
	void *iov;
	int32_t iovlen;
	void *control;
	uint32_t controllen;
	int32_t flags;
};
_Static_assert(sizeof(struct il_msghdr) == 48, "sys/socket.h, struct msghdr of LP64");

/* Control messages are aligned to four bytes on x86 (_CMSG_HDR_ALIGNMENT). */
struct il_cmsghdr {
	uint32_t len;
	int32_t level, type;
};

/* usr/src/head/netdb.h: canonname before addr, as on no other system. */
struct il_addrinfo {
	int32_t flags, family, socktype, protocol;
	uint32_t addrlen;
	char *canonname;
	void *addr;
	struct il_addrinfo *next;
};
_Static_assert(sizeof(struct il_addrinfo) == 48, "netdb.h, struct addrinfo of LP64");
#define IL_AI_V4MAPPED 0x1
#define IL_AI_ALL 0x2
#define IL_AI_ADDRCONFIG 0x4
#define IL_AI_PASSIVE 0x8
#define IL_AI_CANONNAME 0x10
#define IL_AI_NUMERICHOST 0x20
#define IL_AI_NUMERICSERV 0x40
#define IL_EAI_AGAIN 2
#define IL_EAI_BADFLAGS 3
#define IL_EAI_FAIL 4
#define IL_EAI_FAMILY 5
#define IL_EAI_MEMORY 6
#define IL_EAI_NODATA 7
#define IL_EAI_NONAME 8
#define IL_EAI_SERVICE 9
#define IL_EAI_SOCKTYPE 10
#define IL_EAI_SYSTEM 11

/* usr/src/head/ifaddrs.h, net/if.h */
struct il_ifaddrs {
	struct il_ifaddrs *next;
	char *name;
	uint64_t flags;
	void *addr, *netmask, *dstaddr, *data;
};
#define IL_IFF_SHARED 0x3ff
#define IL_IFF_MULTICAST 0x800
#define IL_IFF_IPV4 0x1000000
#define IL_IFF_IPV6 0x2000000

/* poll(2), sys/poll.h: where it differs from Linux. */
#define IL_POLL_SHARED 0x00ff
#define IL_POLLWRBAND 0x0100
#define IL_POLLRDHUP 0x4000
