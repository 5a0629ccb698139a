/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A program with a problem: it reads a file, block by block, and now and then a
 * fifo whose other end is slow. With an argument "forever" it does not end.
 *
 *     slow FILE FIFO [forever]
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct iocb {
	uint64_t data;
	uint32_t key, rw_flags;
	uint16_t opcode, reqprio;
	uint32_t fd;
	uint64_t buf, nbytes, offset, reserved, flags;
};

struct io_event {
	uint64_t data, obj;
	int64_t res, res2;
};

int io_setup(int, void **);
int io_submit(void *, long, struct iocb **);
int io_getevents(void *, long, long, struct io_event *, void *);
int io_destroy(void *);

static int pace_us;

static void *writer(void *name)
{
	int fd = open(name, O_WRONLY);

	for (;;) {
		usleep(pace_us);
		if (write(fd, "late", 4) != 4)
			return NULL;
	}
}

static void read_one(void *ctx, int fd, uint64_t offset)
{
	static char buffer[4096];
	struct iocb iocb = { .fd = fd, .buf = (uintptr_t)buffer, .nbytes = sizeof(buffer),
			     .offset = offset }, *list = &iocb;
	struct io_event event;

	if (io_submit(ctx, 1, &list) != 1 || io_getevents(ctx, 1, 1, &event, NULL) != 1 ||
	    event.res <= 0)
		exit(3);
}

int main(int argc, char **argv)
{
	int file = open(argv[1], O_RDONLY), fifo = open(argv[2], O_RDWR), n;
	int forever = argc > 3 && !strcmp(argv[3], "forever");
	void *ctx = NULL;
	pthread_t thread;

	pace_us = 20000;
	if (file < 0 || fifo < 0 || io_setup(8, &ctx))
		return 2;
	pthread_create(&thread, NULL, writer, argv[2]);
	for (n = 0; forever || n < 1000; n++) {
		read_one(ctx, file, n % 64 * 4096);
		if (n % 100 == 99)
			read_one(ctx, fifo, 0);
	}
	if (io_destroy(ctx))
		return 4;
	printf("the program's own output\n");
	return 5;
}
