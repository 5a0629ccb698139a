/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What a program can see of POSIX AIO, case by case; run with the C library's, then
 * with the drop-in. Each case is a process of its own, with a time limit.
 *
 *     suite DIRECTORY [CASE...]
 */
#define _GNU_SOURCE
#include <aio.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LIMIT_S		20
#define BLOCK		4096

static struct test { const char *name; void (*run)(void); } tests[256];
static int count;

#define CASE(id) static void id(void); \
	static void __attribute__((constructor)) add_##id(void) \
	{ tests[count++] = (struct test){ #id, id }; } \
	static void id(void)

#define IS(got, wanted) do { long g_ = (long)(got), w_ = (long)(wanted); \
	if (g_ != w_) { printf("not ok %s: line %d: %s is %ld, not %ld\n", current, __LINE__, \
			       #got, g_, w_); fflush(stdout); _exit(1); } } while (0)
#define YES(what) IS(!!(what), 1)
/* A call that fails with this errno. */
#define FAILS(call, wanted) do { errno = 0; IS(call, -1); IS(errno, wanted); } while (0)

static const char *current, *dir;
static char buffer[BLOCK * 4] __attribute__((aligned(BLOCK)));

static int file(const char *data, size_t size, int flags)
{
	char name[PATH_MAX];
	int fd, made;

	snprintf(name, sizeof(name), "%s/file-XXXXXX", dir);
	made = mkstemp(name);
	YES(made >= 0);
	if (size)
		IS(write(made, data, size), size);
	fd = open(name, flags);
	YES(fd >= 0);
	unlink(name);
	close(made);
	return fd;
}

static void pattern(char *to, size_t size, int seed)
{
	size_t n;

	for (n = 0; n < size; n++)
		to[n] = (char)(n * 7 + n / 251 + seed);
}

static int patterned(size_t size, int flags)
{
	char *data = malloc(size);
	int fd;

	pattern(data, size, 3);
	fd = file(data, size, flags);
	free(data);
	return fd;
}

static struct aiocb prep(int fd, void *data, size_t bytes, off_t offset)
{
	struct aiocb cb;

	memset(&cb, 0, sizeof(cb));
	cb.aio_fildes = fd;
	cb.aio_buf = data;
	cb.aio_nbytes = bytes;
	cb.aio_offset = offset;
	cb.aio_sigevent.sigev_notify = SIGEV_NONE;
	return cb;
}

static void pause_ms(int ms) { usleep(ms * 1000); }

/* Waits for the end of a request; what aio_error says. */
static int ended(struct aiocb *cb)
{
	const struct aiocb *list[] = { cb };

	while (aio_error(cb) == EINPROGRESS)
		if (aio_suspend(list, 1, NULL) && errno != EINTR)
			return -1;
	return aio_error(cb);
}

/* The result of a request that has ended well. */
static long result(struct aiocb *cb)
{
	IS(ended(cb), 0);
	return aio_return(cb);
}

static void fails(struct aiocb *cb, int error)
{
	IS(ended(cb), error);
	IS(aio_return(cb), -1);
}

static void pipes(int fds[2]) { IS(pipe(fds), 0); }

static void sockets(int fds[2]) { IS(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0); }

/* ---- structures ---- */

CASE(struct_aiocb)
{
	IS(sizeof(struct aiocb), 168);
	IS(sizeof(struct aiocb64), 168);
	IS(offsetof(struct aiocb, aio_fildes), 0);
	IS(offsetof(struct aiocb, aio_lio_opcode), 4);
	IS(offsetof(struct aiocb, aio_reqprio), 8);
	IS(offsetof(struct aiocb, aio_buf), 16);
	IS(offsetof(struct aiocb, aio_nbytes), 24);
	IS(offsetof(struct aiocb, aio_sigevent), 32);
	IS(offsetof(struct aiocb, __error_code), 112);
	IS(offsetof(struct aiocb, __return_value), 120);
	IS(offsetof(struct aiocb, aio_offset), 128);
	IS(sizeof(struct sigevent), 64);
}

CASE(constants)
{
	IS(AIO_CANCELED, 0);
	IS(AIO_NOTCANCELED, 1);
	IS(AIO_ALLDONE, 2);
	IS(LIO_READ, 0);
	IS(LIO_WRITE, 1);
	IS(LIO_NOP, 2);
	IS(LIO_WAIT, 0);
	IS(LIO_NOWAIT, 1);
	IS(sysconf(_SC_AIO_PRIO_DELTA_MAX), 20);
}

/* ---- aio_read ---- */

CASE(read_whole)
{
	int fd = patterned(BLOCK, O_RDONLY);
	struct aiocb cb = prep(fd, buffer, BLOCK, 0);
	char wanted[BLOCK];

	IS(aio_read(&cb), 0);
	IS(result(&cb), BLOCK);
	pattern(wanted, BLOCK, 3);
	IS(memcmp(buffer, wanted, BLOCK), 0);
}

CASE(read_at_an_offset)
{
	int fd = patterned(BLOCK * 2, O_RDONLY);
	struct aiocb cb = prep(fd, buffer, 100, 5000);
	char wanted[BLOCK * 2];

	IS(aio_read(&cb), 0);
	IS(result(&cb), 100);
	pattern(wanted, sizeof(wanted), 3);
	IS(memcmp(buffer, wanted + 5000, 100), 0);
}

CASE(read_moves_no_position)
{
	int fd = patterned(BLOCK, O_RDONLY);
	struct aiocb cb = prep(fd, buffer, 100, 50);

	IS(lseek(fd, 7, SEEK_SET), 7);
	IS(aio_read(&cb), 0);
	IS(result(&cb), 100);
	IS(lseek(fd, 0, SEEK_CUR), 7);
}

CASE(read_short_at_the_end)
{
	int fd = patterned(1000, O_RDONLY);
	struct aiocb cb = prep(fd, buffer, BLOCK, 900);

	IS(aio_read(&cb), 0);
	IS(result(&cb), 100);
}

CASE(read_behind_the_end)
{
	int fd = patterned(1000, O_RDONLY);
	struct aiocb cb = prep(fd, buffer, BLOCK, 5000);

	IS(aio_read(&cb), 0);
	IS(result(&cb), 0);
}

CASE(read_of_nothing)
{
	int fd = patterned(1000, O_RDONLY);
	struct aiocb cb = prep(fd, buffer, 0, 0);

	IS(aio_read(&cb), 0);
	IS(result(&cb), 0);
}

CASE(read_of_a_bad_descriptor)
{
	struct aiocb cb = prep(-1, buffer, 10, 0);

	IS(aio_read(&cb), 0);
	fails(&cb, EBADF);
	cb = prep(777, buffer, 10, 0);
	IS(aio_read(&cb), 0);
	fails(&cb, EBADF);
}

CASE(read_of_a_descriptor_for_writing)
{
	struct aiocb cb = prep(patterned(100, O_WRONLY), buffer, 10, 0);

	IS(aio_read(&cb), 0);
	fails(&cb, EBADF);
}

CASE(read_of_a_directory)
{
	struct aiocb cb = prep(open("/", O_RDONLY), buffer, 10, 0);

	IS(aio_read(&cb), 0);
	fails(&cb, EISDIR);
}

CASE(read_at_a_negative_offset)
{
	struct aiocb cb = prep(patterned(100, O_RDONLY), buffer, 10, -5);

	IS(aio_read(&cb), 0);
	fails(&cb, EINVAL);
}

CASE(read_to_a_bad_address)
{
	struct aiocb cb = prep(patterned(100, O_RDONLY), (void *)8, 10, 0);

	IS(aio_read(&cb), 0);
	fails(&cb, EFAULT);
}

CASE(read_of_a_closed_descriptor)
{
	int fd = patterned(100, O_RDONLY);
	struct aiocb cb = prep(fd, buffer, 10, 0);

	/* Descriptors that the library takes are taken before. */
	IS(aio_read(&cb), 0);
	IS(result(&cb), 10);
	close(fd);
	IS(aio_read(&cb), 0);
	fails(&cb, EBADF);
}

CASE(read_not_cached)
{
	int fd = patterned(1 << 20, O_RDONLY);
	static char data[1 << 20], wanted[1 << 20];
	struct aiocb cb = prep(fd, data, sizeof(data), 0);

	fsync(fd);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	IS(aio_read(&cb), 0);
	IS(result(&cb), 1 << 20);
	pattern(wanted, sizeof(wanted), 3);
	IS(memcmp(data, wanted, sizeof(data)), 0);
}

CASE(read_direct)
{
	int fd = patterned(BLOCK * 2, O_RDONLY | O_DIRECT);
	struct aiocb cb = prep(fd, buffer, BLOCK, BLOCK);
	char wanted[BLOCK * 2];

	IS(aio_read(&cb), 0);
	IS(result(&cb), BLOCK);
	pattern(wanted, sizeof(wanted), 3);
	IS(memcmp(buffer, wanted + BLOCK, BLOCK), 0);
}

CASE(read_the_same_again)
{
	struct aiocb cb = prep(patterned(1000, O_RDONLY), buffer, 10, 0);
	int n;

	for (n = 0; n < 1000; n++) {
		IS(aio_read(&cb), 0);
		IS(result(&cb), 10);
	}
}

CASE(return_can_be_asked_again)
{
	struct aiocb cb = prep(patterned(1000, O_RDONLY), buffer, 10, 0);

	IS(aio_read(&cb), 0);
	IS(ended(&cb), 0);
	IS(aio_return(&cb), 10);
	IS(aio_error(&cb), 0);
}

CASE(error_of_one_never_submitted)
{
	struct aiocb cb = prep(0, buffer, 10, 0);

	IS(aio_error(&cb), 0);
}

/* ---- priorities ---- */

CASE(priority_too_low)
{
	struct aiocb cb = prep(patterned(100, O_RDONLY), buffer, 10, 0);

	cb.aio_reqprio = 21;
	FAILS(aio_read(&cb), EINVAL);
	IS(aio_error(&cb), EINVAL);
	IS(aio_return(&cb), -1);
}

CASE(priority_negative)
{
	struct aiocb cb = prep(patterned(100, O_RDWR), buffer, 10, 0);

	cb.aio_reqprio = -1;
	FAILS(aio_write(&cb), EINVAL);
	IS(aio_error(&cb), EINVAL);
}

CASE(priorities_that_there_are)
{
	struct aiocb cb = prep(patterned(100, O_RDONLY), buffer, 10, 0);

	for (cb.aio_reqprio = 0; cb.aio_reqprio <= 20; cb.aio_reqprio++) {
		IS(aio_read(&cb), 0);
		IS(result(&cb), 10);
	}
}

/* ---- aio_write ---- */

CASE(write_whole)
{
	int fd = file("", 0, O_RDWR);
	struct aiocb cb = prep(fd, buffer, BLOCK, 0);
	char back[BLOCK];

	pattern(buffer, BLOCK, 9);
	IS(aio_write(&cb), 0);
	IS(result(&cb), BLOCK);
	IS(pread(fd, back, BLOCK, 0), BLOCK);
	IS(memcmp(buffer, back, BLOCK), 0);
}

CASE(write_at_an_offset)
{
	int fd = file("", 0, O_RDWR);
	struct aiocb cb = prep(fd, "hello", 5, 1000);
	char back[2000];

	IS(aio_write(&cb), 0);
	IS(result(&cb), 5);
	IS(pread(fd, back, 2000, 0), 1005);
	IS(memcmp(back + 1000, "hello", 5), 0);
	IS(back[999], 0);
}

CASE(write_moves_no_position)
{
	int fd = file("", 0, O_RDWR);
	struct aiocb cb = prep(fd, "hello", 5, 0);

	IS(aio_write(&cb), 0);
	IS(result(&cb), 5);
	IS(lseek(fd, 0, SEEK_CUR), 0);
}

CASE(write_of_a_descriptor_for_reading)
{
	struct aiocb cb = prep(patterned(100, O_RDONLY), buffer, 10, 0);

	IS(aio_write(&cb), 0);
	fails(&cb, EBADF);
}

CASE(write_of_a_bad_descriptor)
{
	struct aiocb cb = prep(-1, buffer, 10, 0);

	IS(aio_write(&cb), 0);
	fails(&cb, EBADF);
}

CASE(write_from_a_bad_address)
{
	struct aiocb cb = prep(patterned(100, O_RDWR), (void *)8, 10, 0);

	IS(aio_write(&cb), 0);
	fails(&cb, EFAULT);
}

CASE(write_at_a_negative_offset)
{
	struct aiocb cb = prep(patterned(100, O_RDWR), buffer, 10, -5);

	IS(aio_write(&cb), 0);
	fails(&cb, EINVAL);
}

CASE(write_of_nothing)
{
	struct aiocb cb = prep(patterned(100, O_RDWR), buffer, 0, 0);

	IS(aio_write(&cb), 0);
	IS(result(&cb), 0);
}

CASE(write_to_a_full_device)
{
	struct aiocb cb = prep(open("/dev/full", O_WRONLY), buffer, 10, 0);

	IS(aio_write(&cb), 0);
	fails(&cb, ENOSPC);
}

CASE(write_beyond_the_limit_of_sizes)
{
	struct aiocb cb = prep(file("", 0, O_RDWR), buffer, 10, 100000);
	struct rlimit limit = { 1000, 1000 };

	/* Memory that the library needs is there before. */
	IS(aio_read(&cb), 0);
	IS(result(&cb), 0);
	signal(SIGXFSZ, SIG_IGN);
	IS(setrlimit(RLIMIT_FSIZE, &limit), 0);
	IS(aio_write(&cb), 0);
	fails(&cb, EFBIG);
}

CASE(write_many_places)
{
	static struct aiocb cbs[64];
	static char data[64][BLOCK], back[BLOCK];
	int fd = file("", 0, O_RDWR), n;

	for (n = 0; n < 64; n++) {
		pattern(data[n], BLOCK, n);
		cbs[n] = prep(fd, data[n], BLOCK, n * BLOCK);
		IS(aio_write(&cbs[n]), 0);
	}
	for (n = 0; n < 64; n++)
		IS(result(&cbs[n]), BLOCK);
	for (n = 0; n < 64; n++) {
		IS(pread(fd, back, BLOCK, n * BLOCK), BLOCK);
		IS(memcmp(back, data[n], BLOCK), 0);
	}
}

CASE(write_direct)
{
	int fd = file("", 0, O_RDWR | O_DIRECT);
	struct aiocb cb = prep(fd, buffer, BLOCK, 0);
	static char back[BLOCK] __attribute__((aligned(BLOCK)));

	pattern(buffer, BLOCK, 5);
	IS(aio_write(&cb), 0);
	IS(result(&cb), BLOCK);
	IS(pread(fd, back, BLOCK, 0), BLOCK);
	IS(memcmp(back, buffer, BLOCK), 0);
}

/* ---- O_APPEND ---- */

static void append(int extra, size_t each)
{
	static struct aiocb cbs[100];
	static char data[100][BLOCK], back[BLOCK];
	int fd = file("", 0, O_RDWR | O_APPEND | extra), n;

	for (n = 0; n < 100; n++) {
		memset(data[n], 'a' + n % 26, each);
		data[n][0] = (char)n;
		cbs[n] = prep(fd, data[n], each, 0);
	}
	for (n = 0; n < 100; n++)
		IS(aio_write(&cbs[n]), 0);
	for (n = 0; n < 100; n++)
		IS(result(&cbs[n]), each);
	for (n = 0; n < 100; n++) {
		IS(pread(fd, back, each, n * each), each);
		IS(back[0], (char)n);
		IS(memcmp(back, data[n], each), 0);
	}
}

CASE(append_in_order) { append(0, 100); }
CASE(append_pages_in_order) { append(0, BLOCK); }
CASE(append_synchronously_in_order) { append(O_SYNC, 100); }

CASE(append_after_one_that_failed)
{
	int fd = file("", 0, O_RDWR | O_APPEND | O_SYNC), n;
	struct aiocb cbs[9];
	char back[16];

	for (n = 0; n < 9; n++) {
		cbs[n] = prep(fd, n == 3 ? (void *)8 : "abcdefghi" + n, 1, 0);
		IS(aio_write(&cbs[n]), 0);
	}
	for (n = 0; n < 9; n++)
		if (n == 3)
			fails(&cbs[n], EFAULT);
		else
			IS(result(&cbs[n]), 1);
	IS(pread(fd, back, 16, 0), 8);
	IS(memcmp(back, "abcefghi", 8), 0);
}

CASE(append_ignores_the_offset)
{
	int fd = file("12345", 5, O_RDWR | O_APPEND);
	struct aiocb cb = prep(fd, "67", 2, 0);
	char back[8];

	IS(aio_write(&cb), 0);
	IS(result(&cb), 2);
	IS(pread(fd, back, 8, 0), 7);
	IS(memcmp(back, "1234567", 7), 0);
}

/* ---- pipes and sockets ---- */

CASE(read_of_a_pipe_waits)
{
	int fds[2];
	struct aiocb cb;

	pipes(fds);
	cb = prep(fds[0], buffer, 100, 0);
	IS(aio_read(&cb), 0);
	pause_ms(20);
	IS(aio_error(&cb), EINPROGRESS);
	IS(write(fds[1], "abc", 3), 3);
	IS(result(&cb), 3);
	IS(memcmp(buffer, "abc", 3), 0);
}

CASE(read_of_a_pipe_takes_any_offset)
{
	int fds[2];
	struct aiocb cb;

	pipes(fds);
	IS(write(fds[1], "abc", 3), 3);
	cb = prep(fds[0], buffer, 100, 12345);
	IS(aio_read(&cb), 0);
	IS(result(&cb), 3);
}

CASE(read_of_a_pipe_at_its_end)
{
	int fds[2];
	struct aiocb cb;

	pipes(fds);
	cb = prep(fds[0], buffer, 100, 0);
	IS(aio_read(&cb), 0);
	close(fds[1]);
	IS(result(&cb), 0);
}

static void reads_in_order(int from, int to)
{
	struct aiocb cbs[10];
	int n;

	for (n = 0; n < 10; n++) {
		cbs[n] = prep(from, buffer + n, 1, 0);
		IS(aio_read(&cbs[n]), 0);
	}
	pause_ms(10);
	for (n = 0; n < 10; n++) {
		IS(write(to, "0123456789" + n, 1), 1);
		IS(result(&cbs[n]), 1);
	}
	IS(memcmp(buffer, "0123456789", 10), 0);
}

CASE(reads_of_a_pipe_in_order) { int fds[2]; pipes(fds); reads_in_order(fds[0], fds[1]); }
CASE(reads_of_a_socket_in_order) { int fds[2]; sockets(fds); reads_in_order(fds[0], fds[1]); }

static void writes_in_order(int from, int to)
{
	static struct aiocb cbs[200];
	static unsigned data[200][256], back[256];
	int n, m;

	for (n = 0; n < 200; n++) {
		for (m = 0; m < 256; m++)
			data[n][m] = n;
		cbs[n] = prep(to, data[n], 1024, 0);
		IS(aio_write(&cbs[n]), 0);
	}
	for (n = 0; n < 200; n++) {
		int got = 0;

		while (got < 1024) {
			int r = read(from, (char *)back + got, 1024 - got);

			YES(r > 0);
			got += r;
		}
		IS(back[0], n);
		IS(back[255], n);
	}
	for (n = 0; n < 200; n++)
		IS(result(&cbs[n]), 1024);
}

CASE(writes_to_a_pipe_in_order) { int fds[2]; pipes(fds); writes_in_order(fds[0], fds[1]); }
CASE(writes_to_a_socket_in_order) { int fds[2]; sockets(fds); writes_in_order(fds[0], fds[1]); }

CASE(write_to_a_pipe_waits_for_room)
{
	static char data[1 << 18], back[1 << 18];
	int fds[2], got = 0;
	struct aiocb cb;

	pipes(fds);
	pattern(data, sizeof(data), 4);
	cb = prep(fds[1], data, sizeof(data), 0);
	IS(aio_write(&cb), 0);
	pause_ms(10);
	IS(aio_error(&cb), EINPROGRESS);
	while (got < (int)sizeof(data)) {
		int r = read(fds[0], back + got, sizeof(data) - got);

		YES(r > 0);
		got += r;
	}
	IS(result(&cb), sizeof(data));
	IS(memcmp(data, back, sizeof(data)), 0);
}

CASE(write_to_a_pipe_without_reader)
{
	int fds[2];
	struct aiocb cb;

	signal(SIGPIPE, SIG_IGN);
	pipes(fds);
	close(fds[0]);
	cb = prep(fds[1], "x", 1, 0);
	IS(aio_write(&cb), 0);
	fails(&cb, EPIPE);
}

CASE(both_ways_of_a_socket)
{
	int fds[2];
	struct aiocb in, out;

	sockets(fds);
	in = prep(fds[0], buffer, 10, 0);
	out = prep(fds[0], "hello", 5, 0);
	IS(aio_write(&out), 0);
	IS(result(&out), 5);
	IS(aio_read(&in), 0);
	IS(read(fds[1], buffer + 100, 10), 5);
	IS(write(fds[1], "world", 5), 5);
	IS(result(&in), 5);
	IS(memcmp(buffer, "world", 5), 0);
}

CASE(a_read_that_waits_does_not_stop_a_write_of_its_socket)
{
	int fds[2];
	struct aiocb in, out;

	sockets(fds);
	in = prep(fds[0], buffer, 10, 0);
	out = prep(fds[0], "hello", 5, 0);
	IS(aio_read(&in), 0);
	IS(aio_write(&out), 0);
	IS(result(&out), 5);
	IS(aio_error(&in), EINPROGRESS);
}

CASE(nonblocking_pipe)
{
	int fds[2];
	struct aiocb cb;

	IS(pipe2(fds, O_NONBLOCK), 0);
	cb = prep(fds[0], buffer, 10, 0);
	IS(aio_read(&cb), 0);
	fails(&cb, EAGAIN);
}

CASE(a_slow_pipe_does_not_stop_files)
{
	static struct aiocb waits[40];
	int fds[40][2], n;
	struct aiocb cb = prep(patterned(100, O_RDONLY), buffer, 10, 0);

	for (n = 0; n < 40; n++) {
		pipes(fds[n]);
		waits[n] = prep(fds[n][0], buffer + 100, 1, 0);
		IS(aio_read(&waits[n]), 0);
	}
	IS(aio_read(&cb), 0);
	IS(result(&cb), 10);
}

/* ---- aio_fsync ---- */

CASE(fsync_alone)
{
	struct aiocb cb = prep(patterned(100, O_RDWR), NULL, 0, 0);

	IS(aio_fsync(O_SYNC, &cb), 0);
	IS(result(&cb), 0);
	IS(aio_fsync(O_DSYNC, &cb), 0);
	IS(result(&cb), 0);
}

CASE(fsync_bad_operation)
{
	struct aiocb cb = prep(patterned(100, O_RDWR), NULL, 0, 0);

	FAILS(aio_fsync(0, &cb), EINVAL);
	FAILS(aio_fsync(O_RDWR, &cb), EINVAL);
}

CASE(fsync_bad_descriptor)
{
	struct aiocb cb = prep(-1, NULL, 0, 0);

	FAILS(aio_fsync(O_SYNC, &cb), EBADF);
}

CASE(fsync_of_a_descriptor_for_reading)
{
	struct aiocb cb = prep(patterned(100, O_RDONLY), NULL, 0, 0);

	/* As fsync(2) of Linux; POSIX has EBADF. */
	IS(aio_fsync(O_SYNC, &cb), 0);
	IS(result(&cb), 0);
}

CASE(fsync_of_a_pipe)
{
	int fds[2];
	struct aiocb cb;

	pipes(fds);
	cb = prep(fds[1], NULL, 0, 0);
	IS(aio_fsync(O_SYNC, &cb), 0);
	fails(&cb, EINVAL);
}

/* A write to a pipe that is full is in flight as long as nobody reads. */
CASE(fsync_waits_for_what_is_in_flight)
{
	static char data[1 << 17];
	int fds[2], got = 0;
	struct aiocb out, sync;

	pipes(fds);
	out = prep(fds[1], data, sizeof(data), 0);
	sync = prep(fds[1], NULL, 0, 0);
	IS(aio_write(&out), 0);
	IS(aio_fsync(O_SYNC, &sync), 0);
	pause_ms(30);
	IS(aio_error(&sync), EINPROGRESS);
	while (got < (int)sizeof(data))
		got += read(fds[0], data, sizeof(data));
	IS(result(&out), sizeof(data));
	fails(&sync, EINVAL);
}

CASE(fsync_waits_for_all_though_one_has_failed)
{
	static char data[1 << 17];
	int fds[2], got = 0;
	struct aiocb out, bad, sync;

	pipes(fds);
	out = prep(fds[1], data, sizeof(data), 0);
	bad = prep(fds[1], (void *)8, 10, 0);
	sync = prep(fds[1], NULL, 0, 0);
	IS(aio_write(&out), 0);
	IS(aio_write(&bad), 0);
	IS(aio_fsync(O_SYNC, &sync), 0);
	pause_ms(30);
	IS(aio_error(&sync), EINPROGRESS);
	while (got < (int)sizeof(data))
		got += read(fds[0], data, sizeof(data));
	IS(result(&out), sizeof(data));
	fails(&bad, EFAULT);
	fails(&sync, EINVAL);
}

CASE(fsync_behind_many_writes)
{
	static struct aiocb cbs[64];
	static char data[BLOCK];
	int fd = file("", 0, O_RDWR), n;
	struct aiocb sync = prep(fd, NULL, 0, 0);

	for (n = 0; n < 64; n++) {
		cbs[n] = prep(fd, data, BLOCK, n * BLOCK);
		IS(aio_write(&cbs[n]), 0);
	}
	IS(aio_fsync(O_SYNC, &sync), 0);
	IS(result(&sync), 0);
	for (n = 0; n < 64; n++)
		IS(aio_error(&cbs[n]), 0);
}

CASE(fsync_behind_appends)
{
	static struct aiocb cbs[64];
	int fd = file("", 0, O_RDWR | O_APPEND | O_SYNC), n;
	struct aiocb sync = prep(fd, NULL, 0, 0);

	for (n = 0; n < 64; n++) {
		cbs[n] = prep(fd, "a", 1, 0);
		IS(aio_write(&cbs[n]), 0);
	}
	IS(aio_fsync(O_DSYNC, &sync), 0);
	IS(result(&sync), 0);
	for (n = 0; n < 64; n++)
		IS(aio_error(&cbs[n]), 0);
}

/* What is submitted behind a sync does not stop it. */
CASE(fsync_does_not_wait_for_what_comes_later)
{
	int fds[2];
	struct aiocb sync, in;

	sockets(fds);
	sync = prep(fds[0], NULL, 0, 0);
	in = prep(fds[0], buffer, 10, 0);
	IS(aio_fsync(O_SYNC, &sync), 0);
	IS(aio_read(&in), 0);
	fails(&sync, EINVAL);
	IS(aio_error(&in), EINPROGRESS);
}

/* ---- aio_suspend ---- */

static struct timespec ms(int n) { return (struct timespec){ n / 1000, n % 1000 * 1000000L }; }

CASE(suspend_of_one_that_has_ended)
{
	struct aiocb cb = prep(patterned(100, O_RDONLY), buffer, 10, 0);
	const struct aiocb *list[] = { &cb };

	IS(aio_read(&cb), 0);
	IS(ended(&cb), 0);
	IS(aio_suspend(list, 1, NULL), 0);
}

CASE(suspend_of_nothing) { const struct aiocb *list[] = { NULL }; IS(aio_suspend(list, 0, NULL), 0); }

CASE(suspend_of_nulls)
{
	const struct aiocb *list[] = { NULL, NULL };

	IS(aio_suspend(list, 2, NULL), 0);
}

CASE(suspend_of_a_negative_number)
{
	const struct aiocb *list[] = { NULL };

	FAILS(aio_suspend(list, -1, NULL), EINVAL);
}

CASE(suspend_times_out)
{
	int fds[2];
	struct aiocb cb;
	const struct aiocb *list[] = { &cb };
	struct timespec t = ms(50), before, after;

	pipes(fds);
	cb = prep(fds[0], buffer, 10, 0);
	IS(aio_read(&cb), 0);
	clock_gettime(CLOCK_MONOTONIC, &before);
	FAILS(aio_suspend(list, 1, &t), EAGAIN);
	clock_gettime(CLOCK_MONOTONIC, &after);
	YES((after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000 >= 49);
	IS(aio_error(&cb), EINPROGRESS);
}

CASE(suspend_does_not_wait_without_time)
{
	int fds[2];
	struct aiocb cb;
	const struct aiocb *list[] = { &cb };
	struct timespec t = ms(0);

	pipes(fds);
	cb = prep(fds[0], buffer, 10, 0);
	IS(aio_read(&cb), 0);
	FAILS(aio_suspend(list, 1, &t), EAGAIN);
}

CASE(suspend_with_a_bad_time)
{
	int fds[2];
	struct aiocb cb;
	const struct aiocb *list[] = { &cb };
	struct timespec t = { 0, 1000000000 };

	pipes(fds);
	cb = prep(fds[0], buffer, 10, 0);
	IS(aio_read(&cb), 0);
	FAILS(aio_suspend(list, 1, &t), EAGAIN);
}

CASE(suspend_ends_with_any)
{
	int fds[2], others[2];
	struct aiocb a, b;
	const struct aiocb *list[] = { &a, NULL, &b };

	pipes(fds);
	pipes(others);
	a = prep(fds[0], buffer, 10, 0);
	b = prep(others[0], buffer + 10, 10, 0);
	IS(aio_read(&a), 0);
	IS(aio_read(&b), 0);
	if (!fork()) {
		pause_ms(30);
		_exit(write(others[1], "x", 1) != 1);
	}
	IS(aio_suspend(list, 3, NULL), 0);
	IS(aio_error(&a), EINPROGRESS);
	IS(aio_error(&b), 0);
}

static void nothing(int signal) { (void)signal; }

CASE(suspend_is_interrupted)
{
	int fds[2];
	struct aiocb cb;
	const struct aiocb *list[] = { &cb };
	struct sigaction action = { .sa_handler = nothing };

	sigaction(SIGALRM, &action, NULL);
	pipes(fds);
	cb = prep(fds[0], buffer, 10, 0);
	IS(aio_read(&cb), 0);
	ualarm(30000, 0);
	FAILS(aio_suspend(list, 1, NULL), EINTR);
}

static void *suspends(void *arg)
{
	const struct aiocb *list[] = { arg };

	return (void *)(intptr_t)aio_suspend(list, 1, NULL);
}

CASE(suspend_in_many_threads)
{
	int fds[8][2], n;
	struct aiocb cbs[8];
	pthread_t threads[8];
	void *told;

	for (n = 0; n < 8; n++) {
		pipes(fds[n]);
		cbs[n] = prep(fds[n][0], buffer + n, 1, 0);
		IS(aio_read(&cbs[n]), 0);
		pthread_create(&threads[n], NULL, suspends, &cbs[n]);
	}
	pause_ms(20);
	for (n = 7; n >= 0; n--) {
		IS(write(fds[n][1], "x", 1), 1);
		pthread_join(threads[n], &told);
		IS((intptr_t)told, 0);
		IS(aio_error(&cbs[n]), 0);
	}
}

CASE(suspend_is_a_cancellation_point)
{
	int fds[2];
	struct aiocb cb;
	pthread_t thread;
	void *told;

	pipes(fds);
	cb = prep(fds[0], buffer, 1, 0);
	IS(aio_read(&cb), 0);
	pthread_create(&thread, NULL, suspends, &cb);
	pause_ms(20);
	IS(pthread_cancel(thread), 0);
	pthread_join(thread, &told);
	YES(told == PTHREAD_CANCELED);
	IS(write(fds[1], "x", 1), 1);
	IS(result(&cb), 1);
}

static void *reads(void *arg)
{
	IS(aio_read(arg), 0);
	return NULL;
}

CASE(a_request_outlives_its_thread)
{
	int fds[2];
	struct aiocb cb;
	pthread_t thread;

	pipes(fds);
	cb = prep(fds[0], buffer, 1, 0);
	pthread_create(&thread, NULL, reads, &cb);
	pthread_join(thread, NULL);
	IS(write(fds[1], "x", 1), 1);
	IS(result(&cb), 1);
}

/* ---- aio_cancel ---- */

CASE(cancel_of_a_bad_descriptor) { FAILS(aio_cancel(-1, NULL), EBADF); }
CASE(cancel_of_nothing) { IS(aio_cancel(patterned(10, O_RDONLY), NULL), AIO_ALLDONE); }

CASE(cancel_of_one_that_has_ended)
{
	int fd = patterned(100, O_RDONLY);
	struct aiocb cb = prep(fd, buffer, 10, 0);

	IS(aio_read(&cb), 0);
	IS(ended(&cb), 0);
	IS(aio_cancel(fd, &cb), AIO_ALLDONE);
	IS(aio_return(&cb), 10);
}

CASE(cancel_with_another_descriptor)
{
	int fd = patterned(100, O_RDONLY), fds[2];
	struct aiocb cb;

	pipes(fds);
	cb = prep(fds[0], buffer, 10, 0);
	IS(aio_read(&cb), 0);
	FAILS(aio_cancel(fd, &cb), EINVAL);
	IS(aio_error(&cb), EINPROGRESS);
}

/* The first of a pipe runs; what is behind it does not. */
CASE(cancel_of_one_that_waits_for_its_turn)
{
	int fds[2];
	struct aiocb first, second;

	pipes(fds);
	first = prep(fds[0], buffer, 10, 0);
	second = prep(fds[0], buffer + 10, 10, 0);
	IS(aio_read(&first), 0);
	pause_ms(10);
	IS(aio_read(&second), 0);
	IS(aio_cancel(fds[0], &second), AIO_CANCELED);
	IS(aio_error(&second), ECANCELED);
	IS(aio_return(&second), -1);
	IS(aio_error(&first), EINPROGRESS);
	IS(write(fds[1], "abc", 3), 3);
	IS(result(&first), 3);
}

CASE(cancel_of_one_that_runs)
{
	int fds[2], got;
	struct aiocb cb;

	pipes(fds);
	cb = prep(fds[0], buffer, 10, 0);
	IS(aio_read(&cb), 0);
	pause_ms(10);
	got = aio_cancel(fds[0], &cb);
	if (got == AIO_CANCELED) {
		fails(&cb, ECANCELED);
	} else {
		IS(got, AIO_NOTCANCELED);
		IS(aio_error(&cb), EINPROGRESS);
		IS(write(fds[1], "abc", 3), 3);
		IS(result(&cb), 3);
	}
}

CASE(cancel_by_descriptor)
{
	int fds[2], others[2], n;
	struct aiocb cbs[8], other;

	pipes(fds);
	pipes(others);
	other = prep(others[0], buffer + 100, 1, 0);
	IS(aio_read(&other), 0);
	for (n = 0; n < 8; n++) {
		cbs[n] = prep(fds[0], buffer + n, 1, 0);
		IS(aio_read(&cbs[n]), 0);
		pause_ms(2);
	}
	aio_cancel(fds[0], NULL);
	for (n = 1; n < 8; n++)
		fails(&cbs[n], ECANCELED);
	IS(aio_error(&other), EINPROGRESS);
	IS(write(others[1], "x", 1), 1);
	IS(result(&other), 1);
}

CASE(cancel_of_an_fsync_that_waits)
{
	static char data[1 << 17];
	int fds[2];
	struct aiocb out, sync;

	pipes(fds);
	out = prep(fds[1], data, sizeof(data), 0);
	sync = prep(fds[1], NULL, 0, 0);
	IS(aio_write(&out), 0);
	pause_ms(10);
	IS(aio_fsync(O_SYNC, &sync), 0);
	IS(aio_cancel(fds[1], &sync), AIO_CANCELED);
	fails(&sync, ECANCELED);
	IS(aio_error(&out), EINPROGRESS);
}

static volatile sig_atomic_t signals, of_value, of_code, of_error;
static struct aiocb *volatile of_request;

static void caught(int signal, siginfo_t *info, void *context)
{
	(void)signal, (void)context;
	of_value = info->si_value.sival_int;
	of_code = info->si_code;
	if (of_request)
		of_error = aio_error(of_request);
	signals++;
}

static void catches(int signal)
{
	struct sigaction action = { .sa_sigaction = caught, .sa_flags = SA_SIGINFO };

	signals = 0;
	sigaction(signal, &action, NULL);
}

static struct sigevent by_signal(int signal, int value)
{
	struct sigevent event;

	memset(&event, 0, sizeof(event));
	event.sigev_notify = SIGEV_SIGNAL;
	event.sigev_signo = signal;
	event.sigev_value.sival_int = value;
	return event;
}

static void wait_for_signals(int n)
{
	int ticks;

	for (ticks = 0; signals < n && ticks < 5000; ticks++)
		usleep(1000);
	IS(signals, n);
}

CASE(a_cancelled_one_is_told_of)
{
	int fds[2];
	struct aiocb first, second;

	catches(SIGUSR1);
	pipes(fds);
	first = prep(fds[0], buffer, 10, 0);
	second = prep(fds[0], buffer + 10, 10, 0);
	second.aio_sigevent = by_signal(SIGUSR1, 5);
	IS(aio_read(&first), 0);
	pause_ms(10);
	IS(aio_read(&second), 0);
	IS(aio_cancel(fds[0], &second), AIO_CANCELED);
	wait_for_signals(1);
	IS(of_value, 5);
}

/* ---- signals ---- */

CASE(signal_for_a_read)
{
	struct aiocb cb = prep(patterned(100, O_RDONLY), buffer, 10, 0);

	catches(SIGUSR1);
	of_request = &cb;
	cb.aio_sigevent = by_signal(SIGUSR1, 77);
	IS(aio_read(&cb), 0);
	wait_for_signals(1);
	IS(of_value, 77);
	IS(of_code, SI_ASYNCIO);
	IS(of_error, 0);
	IS(aio_return(&cb), 10);
}

CASE(signal_for_one_that_waited)
{
	int fds[2];
	struct aiocb cb;

	catches(SIGRTMIN + 3);
	pipes(fds);
	cb = prep(fds[0], buffer, 10, 0);
	of_request = &cb;
	cb.aio_sigevent = by_signal(SIGRTMIN + 3, 8);
	IS(aio_read(&cb), 0);
	pause_ms(10);
	IS(signals, 0);
	IS(write(fds[1], "abc", 3), 3);
	wait_for_signals(1);
	IS(of_value, 8);
	IS(of_error, 0);
	IS(aio_return(&cb), 3);
}

CASE(signal_for_one_that_failed)
{
	struct aiocb cb = prep(-1, buffer, 10, 0);

	catches(SIGUSR1);
	cb.aio_sigevent = by_signal(SIGUSR1, 1);
	IS(aio_read(&cb), 0);
	wait_for_signals(1);
	fails(&cb, EBADF);
}

CASE(signal_for_an_fsync)
{
	struct aiocb cb = prep(patterned(100, O_RDWR), NULL, 0, 0);

	catches(SIGUSR2);
	cb.aio_sigevent = by_signal(SIGUSR2, 2);
	IS(aio_fsync(O_SYNC, &cb), 0);
	wait_for_signals(1);
	IS(of_value, 2);
}

CASE(signals_for_many)
{
	static struct aiocb cbs[100];
	int fd = patterned(100, O_RDONLY), n;

	catches(SIGRTMIN);
	for (n = 0; n < 100; n++) {
		cbs[n] = prep(fd, buffer + n, 1, n);
		cbs[n].aio_sigevent = by_signal(SIGRTMIN, n);
		IS(aio_read(&cbs[n]), 0);
	}
	wait_for_signals(100);
}

CASE(no_signal_without_wish)
{
	struct aiocb cb = prep(patterned(100, O_RDONLY), buffer, 10, 0);

	catches(SIGUSR1);
	cb.aio_sigevent = by_signal(SIGUSR1, 77);
	cb.aio_sigevent.sigev_notify = SIGEV_NONE;
	IS(aio_read(&cb), 0);
	IS(ended(&cb), 0);
	pause_ms(30);
	IS(signals, 0);
}

CASE(signal_that_there_is_not)
{
	struct aiocb cb = prep(patterned(100, O_RDONLY), buffer, 10, 0);

	cb.aio_sigevent = by_signal(999, 0);
	IS(aio_read(&cb), 0);
	fails(&cb, EINVAL);
}

CASE(signal_by_sigwaitinfo)
{
	struct aiocb cb = prep(patterned(100, O_RDONLY), buffer, 10, 0);
	sigset_t set;
	siginfo_t info;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	cb.aio_sigevent = by_signal(SIGUSR1, 0);
	cb.aio_sigevent.sigev_value.sival_ptr = &cb;
	IS(aio_read(&cb), 0);
	IS(sigwaitinfo(&set, &info), SIGUSR1);
	YES(info.si_value.sival_ptr == &cb);
	IS(info.si_code, SI_ASYNCIO);
	IS(info.si_pid, getpid());
	IS(info.si_uid, getuid());
	IS(aio_error(&cb), 0);
}

/* ---- threads ---- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int called, called_with;
static size_t called_with_stack;
static pthread_t called_by;

static void call(union sigval value)
{
	pthread_attr_t attributes;

	pthread_mutex_lock(&mutex);
	called++;
	called_with = value.sival_int;
	called_by = pthread_self();
	pthread_getattr_np(pthread_self(), &attributes);
	pthread_attr_getstacksize(&attributes, &called_with_stack);
	pthread_attr_destroy(&attributes);
	pthread_cond_signal(&cond);
	pthread_mutex_unlock(&mutex);
}

static struct sigevent by_thread(int value)
{
	struct sigevent event;

	memset(&event, 0, sizeof(event));
	event.sigev_notify = SIGEV_THREAD;
	event.sigev_notify_function = call;
	event.sigev_value.sival_int = value;
	return event;
}

static void wait_for_calls(int n)
{
	struct timespec end;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += 5;
	pthread_mutex_lock(&mutex);
	while (called < n)
		if (pthread_cond_timedwait(&cond, &mutex, &end))
			break;
	IS(called, n);
	pthread_mutex_unlock(&mutex);
}

CASE(thread_for_a_read)
{
	struct aiocb cb = prep(patterned(100, O_RDONLY), buffer, 10, 0);

	cb.aio_sigevent = by_thread(42);
	IS(aio_read(&cb), 0);
	wait_for_calls(1);
	IS(called_with, 42);
	YES(!pthread_equal(called_by, pthread_self()));
	IS(aio_error(&cb), 0);
	IS(aio_return(&cb), 10);
}

CASE(thread_for_one_that_waited)
{
	int fds[2];
	struct aiocb cb;

	pipes(fds);
	cb = prep(fds[0], buffer, 10, 0);
	cb.aio_sigevent = by_thread(43);
	IS(aio_read(&cb), 0);
	pause_ms(10);
	IS(called, 0);
	IS(write(fds[1], "abc", 3), 3);
	wait_for_calls(1);
	IS(called_with, 43);
	IS(aio_return(&cb), 3);
}

CASE(thread_with_attributes)
{
	struct aiocb cb = prep(patterned(100, O_RDONLY), buffer, 10, 0);
	pthread_attr_t attributes;

	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, 3 << 20);
	cb.aio_sigevent = by_thread(1);
	cb.aio_sigevent.sigev_notify_attributes = &attributes;
	IS(aio_read(&cb), 0);
	wait_for_calls(1);
	YES(called_with_stack >= 3 << 20 && called_with_stack < 4 << 20);
}

CASE(threads_for_many)
{
	static struct aiocb cbs[50];
	int fd = patterned(100, O_RDONLY), n;

	for (n = 0; n < 50; n++) {
		cbs[n] = prep(fd, buffer + n, 1, n);
		cbs[n].aio_sigevent = by_thread(n);
		IS(aio_read(&cbs[n]), 0);
	}
	wait_for_calls(50);
}

/* ---- lio_listio ---- */

static int list_of(struct aiocb *cbs, struct aiocb **list, int n, int fd, int opcode)
{
	int m;

	for (m = 0; m < n; m++) {
		cbs[m] = prep(fd, buffer + m * 100, 100, m * 100);
		cbs[m].aio_lio_opcode = opcode;
		list[m] = &cbs[m];
	}
	return n;
}

CASE(list_waits)
{
	struct aiocb cbs[16], *list[16];
	int fd = patterned(BLOCK, O_RDONLY), n;
	char wanted[BLOCK];

	list_of(cbs, list, 16, fd, LIO_READ);
	IS(lio_listio(LIO_WAIT, list, 16, NULL), 0);
	for (n = 0; n < 16; n++) {
		IS(aio_error(&cbs[n]), 0);
		IS(aio_return(&cbs[n]), 100);
	}
	pattern(wanted, BLOCK, 3);
	IS(memcmp(buffer, wanted, 1600), 0);
}

CASE(list_of_writes)
{
	struct aiocb cbs[16], *list[16];
	int fd = file("", 0, O_RDWR);
	char back[1600];

	pattern(buffer, 1600, 8);
	list_of(cbs, list, 16, fd, LIO_WRITE);
	IS(lio_listio(LIO_WAIT, list, 16, NULL), 0);
	IS(pread(fd, back, 1600, 0), 1600);
	IS(memcmp(buffer, back, 1600), 0);
}

/* LIO_WAIT returns no sooner than its last member has ended. */
CASE(list_waits_for_one_that_waits)
{
	int fds[2];
	struct aiocb a = prep(patterned(100, O_RDONLY), buffer, 10, 0), b, *list[] = { &a, &b };
	struct timespec before, after;

	pipes(fds);
	b = prep(fds[0], buffer + 100, 10, 0);
	a.aio_lio_opcode = b.aio_lio_opcode = LIO_READ;
	clock_gettime(CLOCK_MONOTONIC, &before);
	if (!fork()) {
		pause_ms(60);
		_exit(write(fds[1], "abc", 3) != 3);
	}
	IS(lio_listio(LIO_WAIT, list, 2, NULL), 0);
	clock_gettime(CLOCK_MONOTONIC, &after);
	IS(aio_error(&b), 0);
	IS(aio_return(&b), 3);
	YES((after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000 >= 50);
}

CASE(list_of_nothing)
{
	struct aiocb *list[] = { NULL };

	IS(lio_listio(LIO_WAIT, list, 0, NULL), 0);
	IS(lio_listio(LIO_NOWAIT, list, 0, NULL), 0);
	IS(lio_listio(LIO_WAIT, list, 1, NULL), 0);
}

CASE(list_with_nulls_and_nops)
{
	struct aiocb a = prep(patterned(100, O_RDONLY), buffer, 10, 0), nop, *list[] = { NULL, &a, &nop };

	nop = prep(-1, NULL, 10, 0);
	nop.aio_lio_opcode = LIO_NOP;
	a.aio_lio_opcode = LIO_READ;
	IS(lio_listio(LIO_WAIT, list, 3, NULL), 0);
	IS(aio_return(&a), 10);
	IS(aio_error(&nop), 0);
}

CASE(list_with_a_bad_mode)
{
	struct aiocb *list[] = { NULL };

	FAILS(lio_listio(2, list, 1, NULL), EINVAL);
	FAILS(lio_listio(-1, list, 1, NULL), EINVAL);
}

CASE(list_with_one_that_fails)
{
	struct aiocb a = prep(patterned(100, O_RDONLY), buffer, 10, 0), b = prep(-1, buffer, 10, 0);
	struct aiocb *list[] = { &b, &a };

	a.aio_lio_opcode = b.aio_lio_opcode = LIO_READ;
	FAILS(lio_listio(LIO_WAIT, list, 2, NULL), EIO);
	fails(&b, EBADF);
	IS(aio_error(&a), 0);
	IS(aio_return(&a), 10);
}

CASE(list_with_a_bad_opcode)
{
	struct aiocb a = prep(patterned(100, O_RDONLY), buffer, 10, 0), *list[] = { &a };

	a.aio_lio_opcode = 17;
	FAILS(lio_listio(LIO_WAIT, list, 1, NULL), EIO);
	fails(&a, EINVAL);
}

CASE(list_with_a_bad_priority)
{
	struct aiocb a = prep(patterned(100, O_RDONLY), buffer, 10, 0), b = a, *list[] = { &a, &b };

	a.aio_lio_opcode = b.aio_lio_opcode = LIO_READ;
	b.aio_reqprio = 100;
	FAILS(lio_listio(LIO_WAIT, list, 2, NULL), EIO);
	IS(ended(&a), 0);
	IS(aio_error(&b), EINVAL);
}

CASE(list_nowait_returns_at_once)
{
	int fds[2];
	struct aiocb a, *list[] = { &a };

	pipes(fds);
	a = prep(fds[0], buffer, 10, 0);
	a.aio_lio_opcode = LIO_READ;
	IS(lio_listio(LIO_NOWAIT, list, 1, NULL), 0);
	IS(aio_error(&a), EINPROGRESS);
	IS(write(fds[1], "abc", 3), 3);
	IS(result(&a), 3);
}

CASE(list_tells_by_signal_when_all_have_ended)
{
	int fds[2];
	struct aiocb a = prep(patterned(100, O_RDONLY), buffer, 10, 0), b, *list[] = { &a, &b };
	struct sigevent event = by_signal(SIGUSR1, 123);

	catches(SIGUSR1);
	pipes(fds);
	b = prep(fds[0], buffer + 100, 10, 0);
	of_request = &b;
	a.aio_lio_opcode = b.aio_lio_opcode = LIO_READ;
	IS(lio_listio(LIO_NOWAIT, list, 2, &event), 0);
	IS(ended(&a), 0);
	pause_ms(30);
	IS(signals, 0);
	IS(write(fds[1], "abc", 3), 3);
	wait_for_signals(1);
	IS(of_value, 123);
	IS(of_error, 0);
}

CASE(list_tells_by_thread)
{
	struct aiocb cbs[16], *list[16];
	struct sigevent event = by_thread(321);

	list_of(cbs, list, 16, patterned(BLOCK, O_RDONLY), LIO_READ);
	IS(lio_listio(LIO_NOWAIT, list, 16, &event), 0);
	wait_for_calls(1);
	IS(called_with, 321);
	IS(aio_error(&cbs[15]), 0);
}

CASE(list_and_each_of_it_tell)
{
	struct aiocb a = prep(patterned(100, O_RDONLY), buffer, 10, 0), *list[] = { &a };
	struct sigevent event = by_signal(SIGRTMIN, 2);

	catches(SIGRTMIN);
	a.aio_lio_opcode = LIO_READ;
	a.aio_sigevent = by_signal(SIGRTMIN, 1);
	IS(lio_listio(LIO_NOWAIT, list, 1, &event), 0);
	wait_for_signals(2);
}

CASE(list_of_nothing_tells)
{
	struct aiocb *list[] = { NULL };
	struct sigevent event = by_signal(SIGUSR1, 9);

	catches(SIGUSR1);
	IS(lio_listio(LIO_NOWAIT, list, 1, &event), 0);
	wait_for_signals(1);
}

CASE(list_of_pipes)
{
	int fds[2], n;
	struct aiocb cbs[4], *list[4];

	pipes(fds);
	for (n = 0; n < 4; n++) {
		cbs[n] = prep(n % 2 ? fds[0] : fds[1], n % 2 ? buffer + n : "x", 1, 0);
		cbs[n].aio_lio_opcode = n % 2 ? LIO_READ : LIO_WRITE;
		list[n] = &cbs[n];
	}
	IS(lio_listio(LIO_WAIT, list, 4, NULL), 0);
	for (n = 0; n < 4; n++)
		IS(aio_return(&cbs[n]), 1);
}

CASE(list_of_appends)
{
	static struct aiocb cbs[64], *list[64];
	int fd = file("", 0, O_RDWR | O_APPEND | O_SYNC), n;
	char back[80];
	struct aiocb last = prep(fd, "z", 1, 0);

	for (n = 0; n < 64; n++) {
		cbs[n] = prep(fd, "x", 1, 0);
		cbs[n].aio_lio_opcode = LIO_WRITE;
		list[n] = &cbs[n];
	}
	IS(lio_listio(LIO_NOWAIT, list, 64, NULL), 0);
	IS(aio_write(&last), 0);
	IS(result(&last), 1);
	IS(pread(fd, back, 80, 0), 65);
	IS(back[64], 'z');
	IS(back[63], 'x');
}

CASE(list_is_interrupted)
{
	int fds[2];
	struct aiocb a, *list[] = { &a };
	struct sigaction action = { .sa_handler = nothing };

	sigaction(SIGALRM, &action, NULL);
	pipes(fds);
	a = prep(fds[0], buffer, 10, 0);
	a.aio_lio_opcode = LIO_READ;
	ualarm(30000, 0);
	FAILS(lio_listio(LIO_WAIT, list, 1, NULL), EINTR);
	IS(aio_error(&a), EINPROGRESS);
}

CASE(list_cannot_end_twice)
{
	struct aiocb cbs[16], *list[16];
	int fd = patterned(BLOCK, O_RDONLY), n;

	for (n = 0; n < 500; n++) {
		list_of(cbs, list, 16, fd, LIO_READ);
		IS(lio_listio(LIO_WAIT, list, 16, NULL), 0);
	}
}

CASE(lists_in_many_threads_do_not_mix)
{
	int n;

	for (n = 0; n < 8; n++) {
		if (!fork()) {
			struct aiocb cbs[8], *list[8];
			int fd = patterned(BLOCK, O_RDONLY), m;

			for (m = 0; m < 50; m++) {
				list_of(cbs, list, 8, fd, LIO_READ);
				IS(lio_listio(LIO_WAIT, list, 8, NULL), 0);
			}
			_exit(0);
		}
	}
	for (n = 0; n < 8; n++) {
		int status;

		YES(wait(&status) > 0);
		IS(status, 0);
	}
}

/* ---- the 64-bit names ---- */

CASE(names_with_64)
{
	struct aiocb64 cb;
	const struct aiocb64 *list[] = { &cb };
	struct aiocb64 *all[] = { &cb };
	int fd = patterned(100, O_RDWR);

	memset(&cb, 0, sizeof(cb));
	cb.aio_fildes = fd;
	cb.aio_buf = buffer;
	cb.aio_nbytes = 10;
	IS(aio_read64(&cb), 0);
	while (aio_error64(&cb) == EINPROGRESS)
		IS(aio_suspend64(list, 1, NULL), 0);
	IS(aio_return64(&cb), 10);
	IS(aio_write64(&cb), 0);
	while (aio_error64(&cb) == EINPROGRESS)
		IS(aio_suspend64(list, 1, NULL), 0);
	IS(aio_return64(&cb), 10);
	IS(aio_fsync64(O_SYNC, &cb), 0);
	while (aio_error64(&cb) == EINPROGRESS)
		IS(aio_suspend64(list, 1, NULL), 0);
	IS(aio_cancel64(fd, &cb), AIO_ALLDONE);
	cb.aio_lio_opcode = LIO_READ;
	IS(lio_listio64(LIO_WAIT, all, 1, NULL), 0);
}

CASE(offset_beyond_4_gib)
{
	int fd = file("", 0, O_RDWR);
	off_t far = 5LL << 30;
	struct aiocb out = prep(fd, "far", 3, far), in = prep(fd, buffer, 10, far);

	IS(aio_write(&out), 0);
	IS(result(&out), 3);
	IS(aio_read(&in), 0);
	IS(result(&in), 3);
	IS(memcmp(buffer, "far", 3), 0);
}

CASE(init_is_taken)
{
	struct aioinit init = { .aio_threads = 4, .aio_num = 16, .aio_idle_time = 1 };
	struct aiocb cb = prep(patterned(100, O_RDONLY), buffer, 10, 0);

	aio_init(&init);
	IS(aio_read(&cb), 0);
	IS(result(&cb), 10);
}

/* ---- processes and threads ---- */

CASE(a_child_can_begin_anew)
{
	int fds[2], status;
	struct aiocb cb;

	pipes(fds);
	cb = prep(fds[0], buffer, 10, 0);
	IS(aio_read(&cb), 0);
	if (!fork()) {
		struct aiocb mine = prep(patterned(100, O_RDONLY), buffer, 10, 0);

		IS(aio_read(&mine), 0);
		IS(result(&mine), 10);
		exit(0);
	}
	YES(wait(&status) > 0);
	IS(status, 0);
	IS(write(fds[1], "abc", 3), 3);
	IS(result(&cb), 3);
}

/* What the parent has in flight is not the child's. */
CASE(a_child_does_not_hang_on_its_parents_request)
{
	int fds[2], status;
	struct aiocb cb;
	const struct aiocb *list[] = { &cb };

	pipes(fds);
	cb = prep(fds[0], buffer, 10, 0);
	IS(aio_read(&cb), 0);
	if (!fork()) {
		alarm(3);
		aio_suspend(list, 1, NULL);
		YES(aio_error(&cb) != EINPROGRESS);
		IS(aio_cancel(fds[0], &cb), AIO_ALLDONE);
		_exit(0);
	}
	YES(wait(&status) > 0);
	IS(status, 0);
	IS(write(fds[1], "abc", 3), 3);
	IS(result(&cb), 3);
}

CASE(a_child_of_a_child)
{
	int n, status;

	for (n = 0; n < 4; n++) {
		struct aiocb mine = prep(patterned(100, O_RDONLY), buffer, 10, 0);

		IS(aio_read(&mine), 0);
		IS(result(&mine), 10);
		if (fork()) {
			YES(wait(&status) > 0);
			IS(status, 0);
			exit(0);
		}
	}
	exit(0);
}

CASE(exit_with_requests_in_flight)
{
	int fds[2], status;
	struct aiocb cb;

	pipes(fds);
	if (!fork()) {
		cb = prep(fds[0], buffer, 10, 0);
		cb.aio_sigevent = by_signal(SIGUSR1, 1);
		IS(aio_read(&cb), 0);
		exit(3);
	}
	YES(wait(&status) > 0);
	IS(WEXITSTATUS(status), 3);
}

CASE(exec_with_requests_in_flight)
{
	int fds[2], status;
	struct aiocb cb;

	pipes(fds);
	if (!fork()) {
		cb = prep(fds[0], buffer, 10, 0);
		IS(aio_read(&cb), 0);
		execl("/bin/sh", "sh", "-c", "exit 4", NULL);
	}
	YES(wait(&status) > 0);
	IS(WEXITSTATUS(status), 4);
}

static void *many(void *arg)
{
	struct aiocb cb;
	char data[64], wanted[BLOCK];
	int fd = (int)(intptr_t)arg, n;

	pattern(wanted, BLOCK, 3);
	for (n = 0; n < 500; n++) {
		cb = prep(fd, data, 64, n);
		IS(aio_read(&cb), 0);
		IS(result(&cb), 64);
		IS(memcmp(data, wanted + n, 64), 0);
	}
	return NULL;
}

CASE(many_threads)
{
	pthread_t threads[8];
	int fd = patterned(BLOCK, O_RDONLY), n;

	for (n = 0; n < 8; n++)
		pthread_create(&threads[n], NULL, many, (void *)(intptr_t)fd);
	for (n = 0; n < 8; n++)
		pthread_join(threads[n], NULL);
}

CASE(a_read_begun_in_a_notification)
{
	struct aiocb cb = prep(patterned(100, O_RDONLY), buffer, 10, 0);
	int n;

	for (n = 0; n < 20; n++) {
		cb.aio_sigevent = by_thread(n);
		IS(aio_read(&cb), 0);
		wait_for_calls(n + 1);
		IS(aio_error(&cb), 0);
	}
}

CASE(cancel_of_threads_does_not_leave_locks)
{
	int fds[2], n;
	struct aiocb cb, other = prep(patterned(100, O_RDONLY), buffer + 100, 10, 0);

	pipes(fds);
	cb = prep(fds[0], buffer, 1, 0);
	IS(aio_read(&cb), 0);
	for (n = 0; n < 5; n++) {
		pthread_t thread;

		pthread_create(&thread, NULL, suspends, &cb);
		pause_ms(5);
		pthread_cancel(thread);
		pthread_join(thread, NULL);
		IS(aio_read(&other), 0);
		IS(result(&other), 10);
	}
}

/* ---- misuse ---- */

CASE(garbage_in_members_that_are_not_the_programs)
{
	struct aiocb cb, fresh = prep(patterned(100, O_RDONLY), buffer, 10, 0);

	memset(&cb, 0xa5, sizeof(cb));
	cb.aio_fildes = fresh.aio_fildes;
	cb.aio_reqprio = 0;
	cb.aio_buf = buffer;
	cb.aio_nbytes = 10;
	cb.aio_offset = 0;
	cb.aio_sigevent = fresh.aio_sigevent;
	IS(aio_read(&cb), 0);
	IS(result(&cb), 10);
}

CASE(unknown_notification)
{
	struct aiocb cb = prep(patterned(100, O_RDONLY), buffer, 10, 0);

	cb.aio_sigevent.sigev_notify = 77;
	IS(aio_read(&cb), 0);
	IS(result(&cb), 10);
}

CASE(a_huge_length)
{
	struct aiocb cb = prep(patterned(100, O_RDONLY), buffer, SIZE_MAX, 0);

	IS(aio_read(&cb), 0);
	YES(ended(&cb) == EINVAL || ended(&cb) == EFAULT || aio_return(&cb) == 100);
}

CASE(closed_while_in_flight)
{
	int fds[2];
	struct aiocb cb;

	pipes(fds);
	cb = prep(fds[0], buffer, 10, 0);
	IS(aio_read(&cb), 0);
	pause_ms(20);
	close(fds[0]);
	IS(write(fds[1], "abc", 3), 3);
	IS(result(&cb), 3);
}

CASE(null_is_told)
{
	FAILS(aio_read(*(struct aiocb *volatile *)&(struct aiocb *){ NULL }), EINVAL);
}

/* ---- running them ---- */

static int run(struct test *test)
{
	int status, ticks;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		setpgid(0, 0);
		current = test->name;
		test->run();
		fflush(stdout);
		_exit(0);
	}
	for (ticks = 0; !waitpid(pid, &status, WNOHANG); ticks++) {
		usleep(1000);
		if (ticks == (getenv("SUITE_LIMIT") ? atoi(getenv("SUITE_LIMIT")) : LIMIT_S) * 1000) {
			kill(-pid, SIGKILL);
			waitpid(pid, &status, 0);
			printf("not ok %s: it hangs\n", test->name);
			return 1;
		}
	}
	kill(-pid, SIGKILL);
	if (WIFSIGNALED(status))
		printf("not ok %s: signal %d\n", test->name, WTERMSIG(status));
	else if (!status)
		printf("ok %s\n", test->name);
	return status != 0;
}

int main(int argc, char **argv)
{
	int n, m, ran = 0, failed = 0;

	if (argc < 2)
		return 2;
	dir = argv[1];
	for (n = 0; n < count && !(failed && getenv("SUITE_FIRST")); n++) {
		int wanted = argc == 2;

		for (m = 2; m < argc; m++)
			wanted |= !strcmp(argv[m], tests[n].name);
		if (wanted) {
			ran++;
			failed += run(&tests[n]);
		}
	}
	printf("%d cases, %d failed\n", ran, failed);
	return failed != 0;
}
