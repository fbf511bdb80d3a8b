/* Names of hosts, and the addresses of this one. */
#include "shim.h"
#include "illumos/sockets.h"
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

int shim_family_to_linux(int illumos);
int shim_family_to_illumos(int family);
int shim_socket_type_to_linux(int illumos);
int shim_socket_type_to_illumos(int type);
void shim_address_to_illumos(const void *linux_address, socklen_t size, void *to, socklen_t *room);

/* A copy of an address in illumos' form, to be freed. */
static void *copy_address(const struct sockaddr *from, uint32_t *size)
{
	if (from == NULL)
		return NULL;
	socklen_t linux_size = from->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
	socklen_t room = sizeof(struct il_sockaddr_in6);
	void *copy = calloc(1, room);
	if (copy == NULL)
		shim_die("no memory for an address");
	shim_address_to_illumos(from, linux_size, copy, &room);
	if (size != NULL)
		*size = room;
	return copy;
}

static const struct {
	int illumos, linux_flag;
} hints_flags[] = {
	{IL_AI_V4MAPPED, AI_V4MAPPED}, {IL_AI_ALL, AI_ALL}, {IL_AI_ADDRCONFIG, AI_ADDRCONFIG}, {IL_AI_PASSIVE, AI_PASSIVE},
	{IL_AI_CANONNAME, AI_CANONNAME}, {IL_AI_NUMERICHOST, AI_NUMERICHOST}, {IL_AI_NUMERICSERV, AI_NUMERICSERV},
};

static const struct {
	int illumos, linux_error;
} resolve_errors[] = {
	{0, 0}, {IL_EAI_AGAIN, EAI_AGAIN}, {IL_EAI_BADFLAGS, EAI_BADFLAGS}, {IL_EAI_FAIL, EAI_FAIL},
	{IL_EAI_FAMILY, EAI_FAMILY}, {IL_EAI_MEMORY, EAI_MEMORY}, {IL_EAI_NODATA, EAI_NODATA},
	{IL_EAI_NONAME, EAI_NONAME}, {IL_EAI_SERVICE, EAI_SERVICE}, {IL_EAI_SOCKTYPE, EAI_SOCKTYPE},
	{IL_EAI_SYSTEM, EAI_SYSTEM},
};
#define RESOLVE_ERRORS (sizeof resolve_errors / sizeof *resolve_errors)

static int resolve_error_to_illumos(int error)
{
	for (size_t i = 0; i < RESOLVE_ERRORS; i++)
		if (resolve_errors[i].linux_error == error)
			return resolve_errors[i].illumos;
	return IL_EAI_FAIL;
}

ILLUMOS(const char *, gai_strerror, (int illumos))
{
	for (size_t i = 0; i < RESOLVE_ERRORS; i++)
		if (resolve_errors[i].illumos == illumos)
			return gai_strerror(resolve_errors[i].linux_error);
	return "unknown error";
}

ILLUMOS(void, freeaddrinfo, (struct il_addrinfo *list))
{
	while (list != NULL) {
		struct il_addrinfo *next = list->next;
		free(list->canonname);
		free(list->addr);
		free(list);
		list = next;
	}
}

ILLUMOS(int, __xnet_getaddrinfo,
	(const char *node, const char *service, const struct il_addrinfo *hints, struct il_addrinfo **list))
{
	struct shim_call call;
	shim_enter(&call, false, "getaddrinfo", "%s, %s", node == NULL ? "-" : node, service == NULL ? "-" : service);
	struct addrinfo own = {0}, *found = NULL;
	if (hints != NULL) {
		own.ai_family = shim_family_to_linux(hints->family);
		own.ai_socktype = shim_socket_type_to_linux(hints->socktype);
		own.ai_protocol = hints->protocol;
		for (size_t i = 0; i < sizeof hints_flags / sizeof *hints_flags; i++)
			if (hints->flags & hints_flags[i].illumos)
				own.ai_flags |= hints_flags[i].linux_flag;
	}
	*list = NULL;
	int error = getaddrinfo(node, service, hints == NULL ? NULL : &own, &found);
	struct il_addrinfo **end = list;
	for (const struct addrinfo *entry = found; entry != NULL; entry = entry->ai_next) {
		struct il_addrinfo *copy = calloc(1, sizeof *copy);
		if (copy == NULL)
			shim_die("no memory for an address");
		copy->family = shim_family_to_illumos(entry->ai_family);
		copy->socktype = shim_socket_type_to_illumos(entry->ai_socktype);
		copy->protocol = entry->ai_protocol;
		copy->addr = copy_address(entry->ai_addr, &copy->addrlen);
		copy->canonname = entry->ai_canonname == NULL ? NULL : strdup(entry->ai_canonname);
		*end = copy;
		end = &copy->next;
	}
	if (error == 0)
		freeaddrinfo(found);
	return shim_leave(&call, resolve_error_to_illumos(error));
}

ILLUMOS(int, getaddrinfo,
	(const char *node, const char *service, const struct il_addrinfo *hints, struct il_addrinfo **list))
{
	return il___xnet_getaddrinfo(node, service, hints, list);
}

/* -- interfaces -- */
ILLUMOS(void, freeifaddrs, (struct il_ifaddrs *list))
{
	while (list != NULL) {
		struct il_ifaddrs *next = list->next;
		free(list->name);
		free(list->addr);
		free(list->netmask);
		free(list->dstaddr);
		free(list);
		list = next;
	}
}

static uint64_t interface_flags(unsigned flags, int family)
{
	uint64_t illumos = flags & IL_IFF_SHARED;
	if (flags & IFF_MULTICAST)
		illumos |= IL_IFF_MULTICAST;
	return illumos | (family == AF_INET6 ? IL_IFF_IPV6 : IL_IFF_IPV4);
}

/* Internet addresses only, as getifaddrs(3SOCKET) gave them in 2013. */
ILLUMOS(int, getifaddrs, (struct il_ifaddrs **list))
{
	LOOKS("getifaddrs", "%s", "");
	struct ifaddrs *found;
	if (getifaddrs(&found) < 0)
		DONE(-1);
	struct il_ifaddrs **end = list;
	*end = NULL;
	for (const struct ifaddrs *entry = found; entry != NULL; entry = entry->ifa_next) {
		if (entry->ifa_addr == NULL)
			continue;
		int family = entry->ifa_addr->sa_family;
		if (family != AF_INET && family != AF_INET6)
			continue;
		struct il_ifaddrs *copy = calloc(1, sizeof *copy);
		if (copy == NULL)
			shim_die("no memory for an interface");
		copy->name = strdup(entry->ifa_name);
		copy->flags = interface_flags(entry->ifa_flags, family);
		copy->addr = copy_address(entry->ifa_addr, NULL);
		copy->netmask = copy_address(entry->ifa_netmask, NULL);
		copy->dstaddr = copy_address(entry->ifa_dstaddr, NULL);
		*end = copy;
		end = &copy->next;
	}
	freeifaddrs(found);
	DONE(0);
}
