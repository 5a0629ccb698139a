// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Preloaded: lets one call of one function fail, as AIO2_FAULT=NAME:N:ERRNO
 * says (the N-th one from 0, while armed), and counts the calls.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

static atomic_int armed, calls;
static char wanted[32];
static int place = -1, error;

__attribute__((constructor)) static void read_fault(void)
{
	const char *fault = getenv("AIO2_FAULT");
	const char *end = fault ? strchr(fault, ':') : NULL;

	if (!end || (size_t)(end - fault) >= sizeof(wanted))
		return;
	memcpy(wanted, fault, end - fault);
	place = atoi(end + 1);
	error = atoi(strrchr(fault, ':') + 1);
}

/* Faults from now on, or none any more; how many calls there were. */
int aio2_faults_arm(int on)
{
	atomic_store(&armed, on);
	return atomic_load(&calls);
}

static int fails(const char *name)
{
	if (!atomic_load(&armed) || strcmp(name, wanted))
		return 0;
	return atomic_fetch_add(&calls, 1) == place ? error : 0;
}

#define FAULT(type, name, failed, params, args)				\
	type name params						\
	{								\
		static type (*next) params;				\
		int e = fails(#name);					\
									\
		if (e) {						\
			errno = e;					\
			return failed;					\
		}							\
		if (!next)						\
			next = (type (*) params)dlsym(RTLD_NEXT, #name); \
		return next args;					\
	}

FAULT(void *, mmap, MAP_FAILED,
      (void *at, size_t len, int prot, int flags, int fd, off_t off),
      (at, len, prot, flags, fd, off))
FAULT(void *, mmap64, MAP_FAILED,
      (void *at, size_t len, int prot, int flags, int fd, off64_t off),
      (at, len, prot, flags, fd, off))
FAULT(int, memfd_create, -1, (const char *name, unsigned int flags), (name, flags))
FAULT(int, ftruncate, -1, (int fd, off_t len), (fd, len))
FAULT(int, ftruncate64, -1, (int fd, off64_t len), (fd, len))
FAULT(int, eventfd, -1, (unsigned int value, int flags), (value, flags))
FAULT(int, epoll_create1, -1, (int flags), (flags))
FAULT(int, epoll_wait, -1, (int fd, struct epoll_event *events, int max, int ms),
      (fd, events, max, ms))
FAULT(int, poll, -1, (struct pollfd *fds, nfds_t count, int ms), (fds, count, ms))
FAULT(int, sigaction, -1,
      (int signal, const struct sigaction *new, struct sigaction *old),
      (signal, new, old))
FAULT(int, pthread_create, e,
      (pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg),
      (thread, attr, run, arg))

/* Only what is added needs memory, and room among the user's watches. */
int epoll_ctl(int fd, int op, int of, struct epoll_event *event)
{
	static int (*next)(int, int, int, struct epoll_event *);
	int e = op == EPOLL_CTL_ADD ? fails("epoll_ctl") : 0;

	if (e) {
		errno = e;
		return -1;
	}
	if (!next)
		next = (int (*)(int, int, int, struct epoll_event *))
			dlsym(RTLD_NEXT, "epoll_ctl");
	return next(fd, op, of, event);
}

int fcntl(int fd, int cmd, ...)
{
	static int (*next)(int, int, ...);
	int e = fails("fcntl");
	va_list args;
	void *arg;

	va_start(args, cmd);
	arg = va_arg(args, void *);
	va_end(args);
	if (e) {
		errno = e;
		return -1;
	}
	if (!next)
		next = (int (*)(int, int, ...))dlsym(RTLD_NEXT, "fcntl");
	return next(fd, cmd, arg);
}
