/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A program that makes some of the calls by number, as databases do, and others
 * through libaio, on one context.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <libaio.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define IS(got, wanted) do { long g_ = (long)(got), w_ = (long)(wanted); if (g_ != w_) { \
	printf("line %d: %s is %ld, not %ld, errno %d\n", __LINE__, #got, g_, w_, errno); \
	exit(1); } } while (0)

int main(void)
{
	io_context_t by_number = 0, by_name = 0;
	struct iocb iocb, *list[] = { &iocb };
	struct io_event event;
	struct timespec none = { 0, 0 };
	struct { sigset_t *set; size_t bytes; } mask = { NULL, 8 };
	char buffer[16];
	int fds[2], fd = open("/proc/self/exe", O_RDONLY);

	IS(pipe(fds), 0);
	IS(syscall(SYS_getpid), getpid());
	IS(syscall(SYS_pwrite64, -1, "x", 1L, 0L), -1);
	IS(errno, EBADF);

	IS(syscall(SYS_io_setup, 0, &by_number), -1);
	IS(errno, EINVAL);
	IS(syscall(SYS_io_setup, 4, &by_number), 0);
	io_prep_pread(&iocb, fd, buffer, 16, 0);
	IS(io_submit(by_number, 1, list), 1);
	IS(syscall(SYS_io_getevents, by_number, 1L, 1L, &event, NULL), 1);
	IS(event.res, 16);
	IS(memcmp(buffer, "\177ELF", 4), 0);

	IS(io_setup(4, &by_name), 0);
	IS(syscall(SYS_io_submit, by_name, 1L, list), 1);
	IS(syscall(SYS_io_pgetevents, by_name, 1L, 1L, &event, NULL, &mask), 1);
	IS(event.res, 16);
	IS(syscall(SYS_io_getevents, by_name, 1L, 1L, &event, &none), 0);
	io_prep_poll(&iocb, fds[0], POLLIN);
	IS(syscall(SYS_io_submit, by_name, 1L, list), 1);
	IS(syscall(SYS_io_cancel, by_name, &iocb, &event), -1);
	IS(errno, EINPROGRESS);
	IS(io_getevents(by_name, 1, 1, &event, NULL), 1);
	IS(syscall(SYS_io_destroy, by_name), 0);
	IS(io_destroy(by_name), -EINVAL);
	IS(io_destroy(by_number), 0);
	puts("one context, by name and by number");
	return 0;
}
