/* Reading and writing, and mapping files into memory. */
#include "power.h"
#include "shim.h"
#include "illumos/files.h"
#include "illumos/processes.h"
#include "illumos/sockets.h"
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

ILLUMOS(ssize_t, read, (int fd, void *buffer, size_t size))
{
	LOOKS("read", "%d, %zu", fd, size);
	DONE(shim_disk_takes(fd, size, -1) ? read(fd, buffer, size) : -1);
}

ILLUMOS(ssize_t, pread, (int fd, void *buffer, size_t size, off_t offset))
{
	LOOKS("pread", "%d, %zu, %ld", fd, size, offset);
	DONE(shim_disk_takes(fd, size, offset) ? pread(fd, buffer, size, offset) : -1);
}

ILLUMOS(ssize_t, readv, (int fd, const struct iovec *pieces, int count))
{
	LOOKS("readv", "%d, %d", fd, count);
	DONE(readv(fd, pieces, count));
}

ILLUMOS(ssize_t, preadv, (int fd, const struct iovec *pieces, int count, off_t offset))
{
	LOOKS("preadv", "%d, %d, %ld", fd, count, offset);
	DONE(preadv(fd, pieces, count, offset));
}

/* Writing is where power fails in the middle: with ABI_SHIM_KILL_AT=N:half the first half gets through. */
#define WRITE_NAME(name, fd) (shim_disk_open(fd) ? "disk_write" : name)

ILLUMOS(ssize_t, write, (int fd, const void *buffer, size_t size))
{
	CHANGES(WRITE_NAME("write", fd), "%d, %zu", fd, size);
	struct power_data data;
	power_write_before(&data, fd, size, -1);
	DONE(power_data_after(&data, write(fd, buffer, call.half ? size / 2 : size)));
}

ILLUMOS(ssize_t, pwrite, (int fd, const void *buffer, size_t size, off_t offset))
{
	CHANGES(WRITE_NAME("pwrite", fd), "%d, %zu, %ld", fd, size, offset);
	struct power_data data;
	power_write_before(&data, fd, size, offset);
	DONE(power_data_after(&data, pwrite(fd, buffer, call.half ? size / 2 : size, offset)));
}

static size_t whole_size(const struct iovec *pieces, int count)
{
	size_t size = 0;
	for (int i = 0; i < count; i++)
		size += pieces[i].iov_len;
	return size;
}

/* Half of a gathered write is half of its first piece. */
static ssize_t write_half(int fd, const struct iovec *pieces, int count)
{
	return count > 0 ? write(fd, pieces->iov_base, pieces->iov_len / 2) : 0;
}

ILLUMOS(ssize_t, writev, (int fd, const struct iovec *pieces, int count))
{
	CHANGES(WRITE_NAME("writev", fd), "%d, %d", fd, count);
	struct power_data data;
	power_write_before(&data, fd, whole_size(pieces, count), -1);
	DONE(power_data_after(&data, call.half ? write_half(fd, pieces, count) : writev(fd, pieces, count)));
}

ILLUMOS(ssize_t, pwritev, (int fd, const struct iovec *pieces, int count, off_t offset))
{
	CHANGES(WRITE_NAME("pwritev", fd), "%d, %d, %ld", fd, count, offset);
	struct power_data data;
	power_write_before(&data, fd, whole_size(pieces, count), offset);
	if (call.half && count > 0)
		DONE(power_data_after(&data, pwrite(fd, pieces->iov_base, pieces->iov_len / 2, offset)));
	DONE(power_data_after(&data, pwritev(fd, pieces, count, offset)));
}

/*
 * The host's disk is not waited for: that takes most of the time of a boot and changes nothing that its programs see. What
 * is no file or directory is refused by the host.
 */
static int synchronise(int fd)
{
	struct stat about;
	if (fstat(fd, &about) == 0 && (S_ISREG(about.st_mode) || S_ISDIR(about.st_mode)))
		return 0;
	return fsync(fd);
}

ILLUMOS(int, fsync, (int fd))
{
	CHANGES("fsync", "%d", fd);
	DONE(power_synced(fd, synchronise(fd)));
}

ILLUMOS(int, fdatasync, (int fd))
{
	CHANGES("fdatasync", "%d", fd);
	DONE(power_synced(fd, synchronise(fd)));
}

ILLUMOS(void, sync, (void))
{
	struct shim_call call;
	/* Not of the host, as with one file. */
	if (!shim_enter(&call, true, "sync", "%s", ""))
		power_synced_all();
	shim_leave(&call, 0);
}

ILLUMOS(off_t, lseek, (int fd, off_t offset, int whence))
{
	LOOKS("lseek", "%d, %ld, %d", fd, offset, whence);
	/* SEEK_SET to SEEK_END and also SEEK_DATA and SEEK_HOLE have the same numbers (usr/src/uts/common/sys/unistd.h). */
	DONE(lseek(fd, offset, whence));
}

/* -- poll(2), usr/src/uts/common/sys/poll.h. POLLWRNORM is POLLOUT there. -- */
static short poll_to_linux(short illumos)
{
	short events = illumos & IL_POLL_SHARED;
	if (illumos & IL_POLLWRBAND)
		events |= POLLWRBAND;
	if (illumos & IL_POLLRDHUP)
		events |= POLLRDHUP;
	return events;
}

static short poll_to_illumos(short events)
{
	short illumos = events & IL_POLL_SHARED;
	if (events & POLLWRBAND)
		illumos |= IL_POLLWRBAND;
	if (events & POLLRDHUP)
		illumos |= IL_POLLRDHUP;
	return illumos;
}

static int wait_for(struct pollfd *fds, unsigned long count, const struct timespec *timeout, const sigset_t *mask)
{
	struct pollfd *own = calloc(count + 1, sizeof *own);
	if (own == NULL)
		return -1;
	for (unsigned long i = 0; i < count; i++)
		own[i] = (struct pollfd){.fd = fds[i].fd, .events = poll_to_linux(fds[i].events)};
	int ready = ppoll(own, count, timeout, mask);
	int error = errno;
	for (unsigned long i = 0; ready >= 0 && i < count; i++)
		fds[i].revents = poll_to_illumos(own[i].revents);
	free(own);
	errno = error;
	return ready;
}

ILLUMOS(int, poll, (struct pollfd *fds, unsigned long count, int milliseconds))
{
	LOOKS("poll", "%d, %lu, %d", count > 0 ? fds->fd : -1, count, milliseconds);
	struct timespec timeout = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000l};
	struct timespec real = shim_real_duration(&timeout);
	DONE(wait_for(fds, count, milliseconds < 0 ? NULL : &real, NULL));
}

ILLUMOS(int, ppoll,
	(struct pollfd *fds, unsigned long count, const struct timespec *timeout, const struct il_sigset *mask))
{
	LOOKS("ppoll", "%d, %lu", count > 0 ? fds->fd : -1, count);
	struct timespec real;
	sigset_t own;
	if (timeout != NULL)
		real = shim_real_duration(timeout);
	if (mask != NULL)
		shim_sigset_to_linux(mask, &own);
	DONE(wait_for(fds, count, timeout == NULL ? NULL : &real, mask == NULL ? NULL : &own));
}

/* -- memory, usr/src/uts/common/sys/mman.h -- */
ILLUMOS(void *, mmap, (void *address, size_t size, int protection, int illumos_flags, int fd, off_t offset))
{
	static const int known = IL_MAP_SHARED | IL_MAP_PRIVATE | IL_MAP_FIXED | IL_MAP_NORESERVE | IL_MAP_ANON;
	if (illumos_flags & ~known)
		shim_die("mmap: flags %#x are unknown", illumos_flags & ~known);
	int flags = illumos_flags & (IL_MAP_SHARED | IL_MAP_PRIVATE | IL_MAP_FIXED);
	if (illumos_flags & IL_MAP_NORESERVE)
		flags |= MAP_NORESERVE;
	if (illumos_flags & IL_MAP_ANON)
		flags |= MAP_ANONYMOUS;
	if (flags & MAP_SHARED && protection & PROT_WRITE && power_is_on() && fd >= 0 && power_folder(fd) >= 0)
		shim_die("mmap: what is written through memory is not in the log of ABI_SHIM_POWER");
	return mmap(address, size, protection, flags, fd, offset);
}

/* msync(2)'s flags: MS_ASYNC 1 and MS_INVALIDATE 2 as on Linux, MS_SYNC 4 as well. */
ILLUMOS(int, msync, (void *address, size_t size, int flags))
{
	CHANGES("msync", "%zu, %#x", size, flags);
	DONE(msync(address, size, flags == 0 ? MS_SYNC : flags));
}

/* -- randomness; both came in 2015 -- */
ILLUMOS(void, arc4random_buf, (void *buffer, size_t size))
{
	for (size_t done = 0; done < size;) {
		ssize_t got = getrandom((char *)buffer + done, size - done, 0);
		if (got < 0)
			shim_die("arc4random_buf: no randomness");
		done += got;
	}
}

/* GRND_NONBLOCK is 1 and GRND_RANDOM 2 on both (usr/src/uts/common/sys/random.h). */
ILLUMOS(ssize_t, getrandom, (void *buffer, size_t size, unsigned flags))
{
	LOOKS("getrandom", "%zu, %u", size, flags);
	DONE(getrandom(buffer, size, flags));
}
