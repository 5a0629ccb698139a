/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What a program can see of libaio, case by case; run with the original, then
 * with the drop-in. Each case is a process of its own, with a time limit.
 *
 *     suite DIRECTORY [CASE...]
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <libaio.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* libaio.h has no declaration of it. */
int io_queue_wait(io_context_t ctx, struct timespec *timeout);

#define LIMIT_S		20
#define BLOCK		4096

struct ring {
	unsigned id, nr, head, tail, magic, compat, incompat, header_length;
	struct io_event events[];
};

/* As linux/aio_abi.h has it: libaio.h has no names for some fields. */
struct kiocb {
	uint64_t data;
	uint32_t key, rw_flags;
	uint16_t opcode;
	int16_t reqprio;
	uint32_t fd;
	uint64_t buf, nbytes;
	int64_t offset;
	uint64_t reserved2;
	uint32_t flags, resfd;
};

_Static_assert(sizeof(struct kiocb) == sizeof(struct iocb), "struct iocb");
_Static_assert(sizeof(struct io_event) == 32, "struct io_event");
_Static_assert(sizeof(struct iocb) == 64, "struct iocb");
_Static_assert(offsetof(struct iocb, u.c.buf) == offsetof(struct kiocb, buf), "buf");
_Static_assert(offsetof(struct iocb, u.c.resfd) == offsetof(struct kiocb, resfd), "resfd");

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

static const char *current, *dir;
static char buffer[BLOCK * 4] __attribute__((aligned(BLOCK)));
static io_context_t ctx;
static struct io_event ev[64];

static struct kiocb *raw(struct iocb *i) { return (struct kiocb *)i; }

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

static void setup(int nr) { ctx = 0; IS(io_setup(nr, &ctx), 0); }

static long one(struct iocb *i) { struct iocb *list[] = { i }; return io_submit(ctx, 1, list); }

static void get(int n) { IS(io_getevents(ctx, n, n, ev, NULL), n); }

/* Submits one request and returns its result. */
static long run(struct iocb *i)
{
	IS(one(i), 1);
	get(1);
	IS(ev[0].obj == i, 1);
	return (long)ev[0].res;
}

static void *bad_address(void)
{
	char *at = mmap(NULL, BLOCK * 2, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return at + 64;
}

static void pause_ms(int ms) { usleep(ms * 1000); }

static int none_left(void)
{
	struct timespec t = { 0, 50000000 };

	return io_getevents(ctx, 1, 64, ev, &t) == 0;
}

/* ---- io_setup ---- */

CASE(setup_of_nothing) { ctx = 0; IS(io_setup(0, &ctx), -EINVAL); YES(!ctx); }
CASE(setup_over_a_context) { ctx = (io_context_t)8; IS(io_setup(1, &ctx), -EINVAL); }
CASE(setup_to_null) { IS(io_setup(1, NULL), -EFAULT); }
CASE(setup_to_a_bad_address) { IS(io_setup(1, bad_address()), -EFAULT); }
CASE(setup_negative) { ctx = 0; IS(io_setup(-1, &ctx), -EINVAL); }
CASE(setup_beyond_memory) { ctx = 0; IS(io_setup(1 << 27, &ctx), -EINVAL); }
CASE(setup_beyond_the_limit) { ctx = 0; IS(io_setup(1 << 22, &ctx), -EAGAIN); }

/* The original takes milliseconds for each io_destroy. */
CASE(setup_of_many)
{
	static io_context_t all[50000];
	int n, many = getenv("SUITE_MANY") ? atoi(getenv("SUITE_MANY")) : 200;

	for (n = 0; n < many; n++)
		IS(io_setup(1, &all[n]), 0);
	pattern(buffer, BLOCK, 3);
	for (n = 0; n < many; n += 77) {
		struct iocb i;
		int fd = patterned(100, O_RDONLY);

		ctx = all[n];
		io_prep_pread(&i, fd, buffer, 100, 0);
		IS(run(&i), 100);
		close(fd);
	}
	for (n = 0; n < many; n++)
		IS(io_destroy(all[n]), 0);
}

CASE(setup_makes_different_contexts)
{
	io_context_t other = 0;

	setup(1);
	IS(io_setup(1, &other), 0);
	YES(other != ctx);
	IS(io_destroy(other), 0);
	IS(io_destroy(ctx), 0);
}

CASE(ring_header)
{
	struct ring *r;

	setup(7);
	r = (struct ring *)ctx;
	IS(r->magic, 0xa10a10a1);
	IS(r->head, 0);
	IS(r->tail, 0);
	IS(r->compat, 1);
	IS(r->incompat, 0);
	IS(r->header_length, 32);
}

CASE(ring_size)
{
	int sizes[] = { 1, 7, 63, 64, 128, 1000, 4000 }, n;

	for (n = 0; n < 7; n++) {
		long cpus = sysconf(_SC_NPROCESSORS_CONF), wanted = sizes[n];
		long bytes;

		if (wanted < cpus * 4)
			wanted = cpus * 4;
		bytes = 32 + (wanted * 2 + 2) * 32;
		bytes = (bytes + BLOCK - 1) / BLOCK * BLOCK;
		setup(sizes[n]);
		IS(((struct ring *)ctx)->nr, (bytes - 32) / 32);
		IS(io_destroy(ctx), 0);
	}
}

/* ---- io_destroy ---- */

CASE(destroy_of_nothing) { IS(io_destroy(NULL), -EINVAL); }
CASE(destroy_of_garbage) { IS(io_destroy((io_context_t)(uintptr_t)0x12345000), -EINVAL); }
CASE(destroy_twice) { setup(1); IS(io_destroy(ctx), 0); IS(io_destroy(ctx), -EINVAL); }

CASE(destroy_with_a_poll_in_flight)
{
	int fds[2];
	struct iocb i;

	IS(pipe(fds), 0);
	setup(1);
	io_prep_poll(&i, fds[0], POLLIN);
	IS(one(&i), 1);
	IS(io_destroy(ctx), 0);
}

CASE(destroy_waits_for_writes)
{
	struct iocb i[16], *list[16];
	int fd = file("", 0, O_RDWR), n;
	static char data[16][BLOCK], back[BLOCK];

	setup(16);
	for (n = 0; n < 16; n++) {
		pattern(data[n], BLOCK, n);
		io_prep_pwrite(list[n] = &i[n], fd, data[n], BLOCK, (long long)n * BLOCK);
	}
	IS(io_submit(ctx, 16, list), 16);
	IS(io_destroy(ctx), 0);
	for (n = 0; n < 16; n++) {
		IS(pread(fd, back, BLOCK, n * BLOCK), BLOCK);
		IS(memcmp(back, data[n], BLOCK), 0);
	}
}

CASE(calls_after_destroy)
{
	struct iocb i;
	struct timespec t = { 0, 1000 };
	int fd = patterned(10, O_RDONLY);

	setup(1);
	IS(io_destroy(ctx), 0);
	io_prep_pread(&i, fd, buffer, 1, 0);
	IS(one(&i), -EINVAL);
	IS(io_cancel(ctx, &i, ev), -EINVAL);
	t.tv_nsec = 0;
	t.tv_sec = 0;
	(void)t;
}

static void *wait_for_one(void *arg)
{
	struct io_event e;

	(void)arg;
	return (void *)(long)io_getevents(ctx, 1, 1, &e, NULL);
}

CASE(destroy_ends_a_wait)
{
	pthread_t t;
	void *res;

	setup(1);
	IS(pthread_create(&t, NULL, wait_for_one, NULL), 0);
	pause_ms(50);
	IS(io_destroy(ctx), 0);
	IS(pthread_join(t, &res), 0);
	IS((long)res, -EINVAL);
}

/* ---- io_submit: what it refuses ---- */

CASE(submit_negative) { struct iocb *list[1] = { 0 }; setup(1); IS(io_submit(ctx, -1, list), -EINVAL); }
CASE(submit_nothing) { setup(1); IS(io_submit(ctx, 0, NULL), 0); }
CASE(submit_to_nothing) { struct iocb i, *l[] = { &i }; io_prep_fsync(&i, 0); IS(io_submit(NULL, 1, l), -EINVAL); }
CASE(submit_null_list) { setup(1); IS(io_submit(ctx, 1, NULL), -EFAULT); }
CASE(submit_bad_list) { setup(1); IS(io_submit(ctx, 1, bad_address()), -EFAULT); }
CASE(submit_null_iocb) { setup(1); IS(one(NULL), -EFAULT); }
CASE(submit_bad_iocb) { setup(1); IS(one(bad_address()), -EFAULT); }

CASE(submit_read_only_iocb)
{
	struct iocb *i = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = patterned(10, O_RDONLY);

	setup(1);
	io_prep_pread(i, fd, buffer, 1, 0);
	IS(mprotect(i, BLOCK, PROT_READ), 0);
	IS(one(i), -EFAULT);
}

CASE(submit_second_iocb_read_only)
{
	struct iocb *bad = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct iocb i, *list[2] = { &i, bad };
	int fd = patterned(10, O_RDONLY);

	setup(4);
	io_prep_pread(&i, fd, buffer, 10, 0);
	io_prep_pread(bad, fd, buffer, 10, 0);
	IS(mprotect(bad, BLOCK, PROT_READ), 0);
	IS(io_submit(ctx, 2, list), 1);
	get(1);
	YES(none_left());
	IS(one(&i), 1);
	get(1);
}

CASE(submit_second_iocb_bad)
{
	struct iocb i, *list[2] = { &i, bad_address() };
	int fd = patterned(10, O_RDONLY);

	setup(4);
	io_prep_pread(&i, fd, buffer, 10, 0);
	IS(io_submit(ctx, 2, list), 1);
	get(1);
	IS(ev[0].res, 10);
	YES(none_left());
}

CASE(submit_reserved_field)
{
	struct iocb i;

	setup(1);
	io_prep_pread(&i, patterned(10, O_RDONLY), buffer, 1, 0);
	raw(&i)->reserved2 = 1;
	IS(one(&i), -EINVAL);
}

CASE(submit_unknown_opcodes)
{
	static const int bad[] = { 4, 6, 9, 100, -1 };
	struct iocb i;
	int n;

	setup(1);
	for (n = 0; n < 5; n++) {
		io_prep_pread(&i, patterned(10, O_RDONLY), buffer, 1, 0);
		i.aio_lio_opcode = bad[n];
		IS(one(&i), -EINVAL);
	}
}

CASE(submit_bad_descriptor) { struct iocb i; setup(1); io_prep_pread(&i, 999, buffer, 1, 0); IS(one(&i), -EBADF); YES(none_left()); }
CASE(submit_negative_descriptor) { struct iocb i; setup(1); io_prep_pread(&i, -1, buffer, 1, 0); IS(one(&i), -EBADF); }
CASE(submit_write_to_bad_descriptor) { struct iocb i; setup(1); io_prep_pwrite(&i, 999, buffer, 1, 0); IS(one(&i), -EBADF); }
CASE(submit_read_of_write_only) { struct iocb i; setup(1); io_prep_pread(&i, patterned(10, O_WRONLY), buffer, 1, 0); IS(one(&i), -EBADF); YES(none_left()); }
CASE(submit_write_to_read_only) { struct iocb i; setup(1); io_prep_pwrite(&i, patterned(10, O_RDONLY), buffer, 1, 0); IS(one(&i), -EBADF); YES(none_left()); }
CASE(submit_path_descriptor) { struct iocb i; setup(1); io_prep_pread(&i, open("/", O_PATH), buffer, 1, 0); IS(one(&i), -EBADF); }
CASE(submit_directory) { struct iocb i; setup(1); io_prep_pread(&i, open("/", O_RDONLY), buffer, 1, 0); IS(one(&i), -EINVAL); YES(none_left()); }
CASE(submit_negative_length) { struct iocb i; setup(1); io_prep_pread(&i, patterned(10, O_RDONLY), buffer, (size_t)-1, 0); IS(one(&i), -EINVAL); }
CASE(submit_negative_offset) { struct iocb i; setup(1); io_prep_pread(&i, patterned(10, O_RDONLY), buffer, 1, -1); IS(one(&i), -EINVAL); }
CASE(submit_kernel_buffer) { struct iocb i; setup(1); io_prep_pread(&i, patterned(10, O_RDONLY), (void *)0xffff800000000000, 1, 0); IS(one(&i), -EFAULT); }

CASE(submit_stops_at_a_bad_descriptor)
{
	struct iocb i[3], *list[] = { &i[0], &i[1], &i[2] };
	int fd = patterned(100, O_RDWR), out = file("", 0, O_RDWR);

	setup(4);
	io_prep_pread(&i[0], fd, buffer, 100, 0);
	io_prep_pread(&i[1], 999, buffer, 100, 0);
	io_prep_pwrite(&i[2], out, buffer, 100, 0);
	IS(io_submit(ctx, 3, list), 1);
	get(1);
	YES(none_left());
	IS(lseek(out, 0, SEEK_END), 0);
}

CASE(submit_stops_at_a_wrong_direction)
{
	struct iocb i[2], *list[] = { &i[0], &i[1] };
	int fd = patterned(100, O_RDONLY);

	setup(4);
	io_prep_pread(&i[0], fd, buffer, 100, 0);
	io_prep_pwrite(&i[1], fd, buffer, 100, 0);
	IS(io_submit(ctx, 2, list), 1);
	get(1);
	IS(ev[0].res, 100);
	YES(none_left());
}

CASE(submit_beyond_the_ring)
{
	static struct iocb i[600], *list[600];
	int fd = patterned(64, O_RDONLY), n, all;
	long got, sum = 0;

	setup(1);
	all = ((struct ring *)ctx)->nr;
	for (n = 0; n < 600; n++)
		io_prep_pread(list[n] = &i[n], fd, buffer, 64, 0);
	while (sum < 600 && (got = io_submit(ctx, 600 - sum, list + sum)) > 0)
		sum += got;
	IS(got, -EAGAIN);
	YES(sum >= 1 && sum < all);
	for (n = 0; n < sum; n++)
		get(1);
	YES(none_left());
	IS(one(list[0]), 1);
	get(1);
}

CASE(submit_counts_what_is_not_reaped)
{
	static struct iocb i;
	int fd = patterned(64, O_RDONLY), n = 0, again = 0;
	long got;

	setup(1);
	io_prep_pread(&i, fd, buffer, 64, 0);
	while ((got = one(&i)) == 1)
		n++;
	IS(got, -EAGAIN);
	IS(io_getevents(ctx, 1, 1, ev, NULL), 1);
	for (; again < 1000 && one(&i) == 1; again++)
		get(1);
	IS(again, 1000);
	YES(n >= 1);
}

CASE(submit_sets_the_key)
{
	struct iocb i;

	setup(1);
	io_prep_pread(&i, patterned(10, O_RDONLY), buffer, 10, 0);
	raw(&i)->key = 77;
	IS(one(&i), 1);
	get(1);
	IS(raw(&i)->key, 0);
}

/* ---- transfers ---- */

CASE(read_gives_the_data)
{
	struct iocb i;
	static char wanted[BLOCK];

	setup(1);
	pattern(wanted, BLOCK, 3);
	io_prep_pread(&i, patterned(BLOCK, O_RDONLY), buffer, BLOCK, 0);
	IS(run(&i), BLOCK);
	IS(memcmp(buffer, wanted, BLOCK), 0);
}

CASE(read_at_an_offset)
{
	struct iocb i;
	static char wanted[BLOCK];

	setup(1);
	pattern(wanted, BLOCK, 3);
	io_prep_pread(&i, patterned(BLOCK, O_RDONLY), buffer, 100, 1000);
	IS(run(&i), 100);
	IS(memcmp(buffer, wanted + 1000, 100), 0);
}

CASE(read_short_at_the_end) { struct iocb i; setup(1); io_prep_pread(&i, patterned(100, O_RDONLY), buffer, 1000, 60); IS(run(&i), 40); }
CASE(read_at_the_end) { struct iocb i; setup(1); io_prep_pread(&i, patterned(100, O_RDONLY), buffer, 10, 100); IS(run(&i), 0); }
CASE(read_behind_the_end) { struct iocb i; setup(1); io_prep_pread(&i, patterned(100, O_RDONLY), buffer, 10, 1 << 30); IS(run(&i), 0); }
CASE(read_of_nothing) { struct iocb i; setup(1); io_prep_pread(&i, patterned(100, O_RDONLY), buffer, 0, 0); IS(run(&i), 0); }
CASE(read_keeps_the_position) { struct iocb i; int fd = patterned(100, O_RDONLY); setup(1); io_prep_pread(&i, fd, buffer, 50, 10); IS(run(&i), 50); IS(lseek(fd, 0, SEEK_CUR), 0); }

CASE(read_leaves_the_rest_of_the_buffer)
{
	struct iocb i;

	setup(1);
	memset(buffer, 'x', 200);
	io_prep_pread(&i, patterned(100, O_RDONLY), buffer, 100, 0);
	IS(run(&i), 100);
	IS(buffer[100], 'x');
	IS(buffer[199], 'x');
}

CASE(write_arrives)
{
	struct iocb i;
	static char back[BLOCK];
	int fd = file("", 0, O_RDWR);

	setup(1);
	pattern(buffer, BLOCK, 9);
	io_prep_pwrite(&i, fd, buffer, BLOCK, 0);
	IS(run(&i), BLOCK);
	IS(pread(fd, back, BLOCK, 0), BLOCK);
	IS(memcmp(back, buffer, BLOCK), 0);
}

CASE(write_leaves_a_hole)
{
	struct iocb i;
	char back[10];
	int fd = file("", 0, O_RDWR);

	setup(1);
	io_prep_pwrite(&i, fd, "end", 3, 10000);
	IS(run(&i), 3);
	IS(lseek(fd, 0, SEEK_END), 10003);
	IS(pread(fd, back, 10, 5000), 10);
	IS(back[0], 0);
}

CASE(write_keeps_its_neighbours)
{
	struct iocb i;
	char back[9];
	int fd = file("abcdefgh", 8, O_RDWR);

	setup(1);
	io_prep_pwrite(&i, fd, "XY", 2, 3);
	IS(run(&i), 2);
	IS(pread(fd, back, 9, 0), 8);
	IS(memcmp(back, "abcXYfgh", 8), 0);
}

CASE(write_to_append)
{
	struct iocb i;
	char back[9];
	int fd = file("abc", 3, O_RDWR | O_APPEND);

	setup(1);
	io_prep_pwrite(&i, fd, "de", 2, 0);
	IS(run(&i), 2);
	IS(pread(fd, back, 9, 0), 5);
	IS(memcmp(back, "abcde", 5), 0);
}

CASE(vectored_read)
{
	struct iocb i;
	char a[10], b[20];
	static char wanted[BLOCK];
	struct iovec v[] = { { a, 10 }, { b, 20 } };

	setup(1);
	pattern(wanted, BLOCK, 3);
	io_prep_preadv(&i, patterned(100, O_RDONLY), v, 2, 5);
	IS(run(&i), 30);
	IS(memcmp(a, wanted + 5, 10) || memcmp(b, wanted + 15, 20), 0);
}

CASE(vectored_write)
{
	struct iocb i;
	char back[9];
	struct iovec v[] = { { "ab", 2 }, { "", 0 }, { "cde", 3 } };
	int fd = file("", 0, O_RDWR);

	setup(1);
	io_prep_pwritev(&i, fd, v, 3, 0);
	IS(run(&i), 5);
	IS(pread(fd, back, 9, 0), 5);
	IS(memcmp(back, "abcde", 5), 0);
}

CASE(vector_may_be_used_again)
{
	struct iocb i;
	int fds[2];
	char a[4] = "", b[4] = "";
	struct iovec v = { a, 4 };

	IS(pipe(fds), 0);
	IS(write(fds[1], "data", 4), 4);
	setup(1);
	io_prep_preadv(&i, fds[0], &v, 1, 0);
	IS(one(&i), 1);
	v.iov_base = b;
	get(1);
	IS(ev[0].res, 4);
	IS(memcmp(a, "data", 4), 0);
}

CASE(vector_too_long) { struct iocb i; static struct iovec v[1025]; setup(1); io_prep_preadv(&i, patterned(10, O_RDONLY), v, 1025, 0); IS(one(&i), -EINVAL); }
CASE(vector_of_nothing) { struct iocb i; struct iovec v; setup(1); io_prep_preadv(&i, patterned(10, O_RDONLY), &v, 0, 0); IS(run(&i), 0); }
CASE(vector_at_a_bad_address) { struct iocb i; setup(1); io_prep_preadv(&i, patterned(10, O_RDONLY), bad_address(), 2, 0); IS(one(&i), -EFAULT); }
CASE(vector_with_a_negative_length) { struct iocb i; struct iovec v = { buffer, (size_t)-1 }; setup(1); io_prep_preadv(&i, patterned(10, O_RDONLY), &v, 1, 0); IS(one(&i), -EINVAL); }
CASE(read_to_a_bad_buffer) { struct iocb i; setup(1); io_prep_pread(&i, patterned(100, O_RDONLY), bad_address(), 100, 0); IS(run(&i), -EFAULT); }
CASE(write_from_a_bad_buffer) { struct iocb i; setup(1); io_prep_pwrite(&i, file("", 0, O_RDWR), bad_address(), 100, 0); IS(run(&i), -EFAULT); }

CASE(direct_write_and_read)
{
	struct iocb i;
	int fd = file("", 0, O_RDWR | O_DIRECT);

	setup(1);
	pattern(buffer, BLOCK, 5);
	io_prep_pwrite(&i, fd, buffer, BLOCK, BLOCK);
	IS(run(&i), BLOCK);
	io_prep_pread(&i, fd, buffer + BLOCK, BLOCK, BLOCK);
	IS(run(&i), BLOCK);
	IS(memcmp(buffer, buffer + BLOCK, BLOCK), 0);
}

CASE(direct_misaligned) { struct iocb i; setup(1); io_prep_pread(&i, patterned(BLOCK * 2, O_RDONLY | O_DIRECT), buffer + 1, 100, 1); IS(run(&i), -EINVAL); }

CASE(pipe_with_data)
{
	struct iocb i;
	int fds[2];

	IS(pipe(fds), 0);
	IS(write(fds[1], "hello", 5), 5);
	setup(1);
	io_prep_pread(&i, fds[0], buffer, 100, 0);
	IS(run(&i), 5);
	IS(memcmp(buffer, "hello", 5), 0);
	io_prep_pwrite(&i, fds[1], "world", 5, 0);
	IS(run(&i), 5);
	IS(read(fds[0], buffer, 100), 5);
	IS(memcmp(buffer, "world", 5), 0);
}

CASE(pipe_nonblocking) { struct iocb i; int fds[2]; IS(pipe2(fds, O_NONBLOCK), 0); setup(1); io_prep_pread(&i, fds[0], buffer, 9, 0); IS(run(&i), -EAGAIN); }
CASE(pipe_closed) { struct iocb i; int fds[2]; IS(pipe(fds), 0); close(fds[1]); setup(1); io_prep_pread(&i, fds[0], buffer, 9, 0); IS(run(&i), 0); }
CASE(pipe_broken) { struct iocb i; int fds[2]; signal(SIGPIPE, SIG_IGN); IS(pipe(fds), 0); close(fds[0]); setup(1); io_prep_pwrite(&i, fds[1], "x", 1, 0); IS(run(&i), -EPIPE); }

CASE(socket_pair)
{
	struct iocb i;
	int s[2];

	IS(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	setup(1);
	io_prep_pwrite(&i, s[0], "abc", 3, 0);
	IS(run(&i), 3);
	io_prep_pread(&i, s[1], buffer, 10, 0);
	IS(run(&i), 3);
	IS(memcmp(buffer, "abc", 3), 0);
}

CASE(devices)
{
	struct iocb i;

	setup(1);
	buffer[5] = 1;
	io_prep_pread(&i, open("/dev/zero", O_RDONLY), buffer, 10, 0);
	IS(run(&i), 10);
	IS(buffer[5], 0);
	io_prep_pwrite(&i, open("/dev/null", O_WRONLY), buffer, 10, 0);
	IS(run(&i), 10);
}

CASE(file_size_limit)
{
	struct iocb i;
	struct rlimit limit = { 100, 100 };
	int fd = file("", 0, O_RDWR);

	signal(SIGXFSZ, SIG_IGN);
	setup(1);
	IS(setrlimit(RLIMIT_FSIZE, &limit), 0);
	io_prep_pwrite(&i, fd, buffer, 10, 200);
	IS(run(&i), -EFBIG);
	io_prep_pwrite(&i, fd, buffer, 50, 80);
	IS(run(&i), 20);
}

CASE(event_fields)
{
	struct iocb i;

	setup(1);
	io_prep_pread(&i, patterned(10, O_RDONLY), buffer, 10, 0);
	i.data = (void *)0x123456789abcdef0;
	IS(run(&i), 10);
	YES(ev[0].data == (void *)0x123456789abcdef0 && ev[0].obj == &i);
	IS(ev[0].res2, 0);
}

CASE(iocb_may_change_after_submit)
{
	struct iocb i;
	int fds[2];

	IS(pipe(fds), 0);
	IS(write(fds[1], "x", 1), 1);
	setup(1);
	io_prep_poll(&i, fds[0], POLLIN);
	i.data = (void *)5;
	IS(one(&i), 1);
	i.data = (void *)6;
	get(1);
	YES(ev[0].data == (void *)5);
}

CASE(batch_each_once)
{
	static struct iocb i[64], *list[64];
	static char data[64 * 64], seen[64];
	int fd = patterned(64 * 64, O_RDONLY), n, got = 0;

	setup(64);
	for (n = 0; n < 64; n++) {
		io_prep_pread(list[n] = &i[n], fd, data + n * 64, 64, n * 64);
		i[n].data = (void *)(long)n;
	}
	IS(io_submit(ctx, 64, list), 64);
	while (got < 64) {
		int some = io_getevents(ctx, 1, 7, ev, NULL);

		YES(some >= 1 && some <= 7);
		for (n = 0; n < some; n++) {
			IS(ev[n].res, 64);
			IS(seen[(long)ev[n].data]++, 0);
		}
		got += some;
	}
	YES(none_left());
	pattern(buffer, 64 * 64, 3);
	IS(memcmp(buffer, data, 64 * 64), 0);
}

/* ---- fsync ---- */

CASE(fsync_of_a_file) { struct iocb i; setup(1); io_prep_fsync(&i, patterned(100, O_RDWR)); IS(run(&i), 0); }
CASE(fdsync_of_a_file) { struct iocb i; setup(1); io_prep_fdsync(&i, patterned(100, O_RDWR)); IS(run(&i), 0); }
CASE(fsync_read_only) { struct iocb i; setup(1); io_prep_fsync(&i, patterned(100, O_RDONLY)); IS(run(&i), 0); }
CASE(fsync_with_arguments) { struct iocb i; setup(1); io_prep_fsync(&i, patterned(100, O_RDWR)); i.u.c.nbytes = 1; IS(one(&i), -EINVAL); }
CASE(fsync_of_a_pipe) { struct iocb i; int fds[2]; IS(pipe(fds), 0); setup(1); io_prep_fsync(&i, fds[0]); IS(one(&i), -EINVAL); }
CASE(fsync_bad_descriptor) { struct iocb i; setup(1); io_prep_fsync(&i, 999); IS(one(&i), -EBADF); }

/* ---- poll ---- */

CASE(poll_ready) { struct iocb i; int fds[2]; IS(pipe(fds), 0); setup(1); io_prep_poll(&i, fds[1], POLLOUT); IS(run(&i), POLLOUT); }

static void *write_later(void *arg)
{
	pause_ms(30);
	YES(write(*(int *)arg, "later", 5) == 5);
	return NULL;
}

CASE(poll_later)
{
	struct iocb i;
	int fds[2];
	pthread_t t;

	IS(pipe(fds), 0);
	setup(1);
	io_prep_poll(&i, fds[0], POLLIN);
	IS(one(&i), 1);
	IS(pthread_create(&t, NULL, write_later, &fds[1]), 0);
	get(1);
	IS(ev[0].res & POLLIN, POLLIN);
	IS(pthread_join(t, NULL), 0);
}

CASE(poll_hangup) { struct iocb i; int fds[2]; IS(pipe(fds), 0); close(fds[1]); setup(1); io_prep_poll(&i, fds[0], POLLIN); IS(run(&i), POLLHUP); }
CASE(poll_too_many_events) { struct iocb i; int fds[2]; IS(pipe(fds), 0); setup(1); io_prep_poll(&i, fds[0], 1 << 16); IS(one(&i), -EINVAL); }
CASE(poll_with_arguments) { struct iocb i; int fds[2]; IS(pipe(fds), 0); setup(1); io_prep_poll(&i, fds[0], POLLIN); raw(&i)->nbytes = 1; IS(one(&i), -EINVAL); }
CASE(poll_of_a_file) { struct iocb i; setup(1); io_prep_poll(&i, patterned(10, O_RDONLY), POLLIN); IS(run(&i) & POLLIN, POLLIN); }
CASE(poll_bad_descriptor) { struct iocb i; setup(1); io_prep_poll(&i, 999, POLLIN); IS(one(&i), -EBADF); }

CASE(poll_closed_meanwhile)
{
	struct iocb i;
	int fds[2];

	IS(pipe(fds), 0);
	setup(1);
	io_prep_poll(&i, fds[0], POLLIN);
	IS(one(&i), 1);
	close(fds[0]);
	IS(write(fds[1], "x", 1), 1);
	get(1);
	IS(ev[0].res & POLLIN, POLLIN);
}

/* ---- io_cancel ---- */

CASE(cancel_of_a_poll)
{
	struct iocb i;
	int fds[2];

	IS(pipe(fds), 0);
	setup(1);
	io_prep_poll(&i, fds[0], POLLIN);
	IS(one(&i), 1);
	IS(io_cancel(ctx, &i, ev), -EINPROGRESS);
	get(1);
	YES(ev[0].obj == &i);
	IS(ev[0].res, 0);
	YES(none_left());
}

CASE(cancel_one_of_two)
{
	struct iocb i[2], *list[] = { &i[0], &i[1] };
	int fds[2];

	IS(pipe(fds), 0);
	setup(2);
	io_prep_poll(&i[0], fds[0], POLLIN);
	io_prep_poll(&i[1], fds[0], POLLIN);
	IS(io_submit(ctx, 2, list), 2);
	IS(io_cancel(ctx, &i[1], ev), -EINPROGRESS);
	get(1);
	YES(ev[0].obj == &i[1]);
	YES(none_left());
	IS(write(fds[1], "x", 1), 1);
	get(1);
	YES(ev[0].obj == &i[0]);
	IS(ev[0].res & POLLIN, POLLIN);
}

CASE(cancel_of_what_ended) { struct iocb i; setup(1); io_prep_pread(&i, patterned(10, O_RDONLY), buffer, 10, 0); IS(run(&i), 10); IS(io_cancel(ctx, &i, ev), -EINVAL); }
CASE(cancel_of_what_never_was) { struct iocb i; setup(1); io_prep_pread(&i, 0, buffer, 10, 0); raw(&i)->key = 0; IS(io_cancel(ctx, &i, ev), -EINVAL); }
CASE(cancel_with_a_bad_key) { struct iocb i; setup(1); io_prep_pread(&i, 0, buffer, 10, 0); raw(&i)->key = 9; IS(io_cancel(ctx, &i, ev), -EINVAL); }
CASE(cancel_bad_address) { setup(1); IS(io_cancel(ctx, bad_address(), ev), -EFAULT); }
CASE(cancel_in_no_context) { struct iocb i; io_prep_pread(&i, 0, buffer, 10, 0); raw(&i)->key = 0; IS(io_cancel(NULL, &i, ev), -EINVAL); }

/* ---- flags and priority ---- */

CASE(flag_nowait_cached)
{
	struct iocb i;
	struct iovec v = { buffer, 100 };

	setup(1);
	io_prep_preadv2(&i, patterned(100, O_RDONLY), &v, 1, 0, RWF_NOWAIT);
	IS(run(&i), 100);
}

CASE(flag_on_plain_read)
{
	struct iocb i;

	setup(1);
	io_prep_pread(&i, patterned(100, O_RDONLY), buffer, 100, 0);
	i.aio_rw_flags = RWF_NOWAIT;
	IS(run(&i), 100);
}

CASE(flag_dsync)
{
	struct iocb i;
	char back[4];
	int fd = file("", 0, O_RDWR);

	setup(1);
	io_prep_pwrite(&i, fd, "abc", 3, 0);
	i.aio_rw_flags = RWF_DSYNC;
	IS(run(&i), 3);
	IS(pread(fd, back, 4, 0), 3);
}

CASE(flag_append)
{
	struct iocb i;
	int fd = file("abc", 3, O_RDWR);

	setup(1);
	io_prep_pwrite(&i, fd, "de", 2, 0);
	i.aio_rw_flags = RWF_APPEND;
	IS(run(&i), 2);
	IS(lseek(fd, 0, SEEK_END), 5);
}

CASE(flag_unknown)
{
	struct iocb i;

	setup(1);
	io_prep_pread(&i, patterned(100, O_RDONLY), buffer, 100, 0);
	i.aio_rw_flags = 1 << 30;
	IS(one(&i), -EOPNOTSUPP);
}

CASE(priority_best_effort)
{
	struct iocb i;

	setup(1);
	io_prep_pread(&i, patterned(100, O_RDONLY), buffer, 100, 0);
	i.u.c.flags = 2;
	i.aio_reqprio = 2 << 13 | 7;
	IS(run(&i), 100);
}

CASE(priority_bad_class)
{
	struct iocb i;

	setup(1);
	io_prep_pread(&i, patterned(100, O_RDONLY), buffer, 100, 0);
	i.u.c.flags = 2;
	i.aio_reqprio = (short)(5 << 13);
	IS(one(&i), -EINVAL);
}

CASE(priority_not_asked_for)
{
	struct iocb i;

	setup(1);
	io_prep_pread(&i, patterned(100, O_RDONLY), buffer, 100, 0);
	i.aio_reqprio = (short)(5 << 13);
	IS(run(&i), 100);
}

/* ---- eventfd ---- */

CASE(eventfd_counts_events)
{
	struct iocb i[5], *list[5];
	int fd = patterned(100, O_RDONLY), e = eventfd(0, EFD_NONBLOCK), n;
	uint64_t sum = 0, got;

	setup(5);
	for (n = 0; n < 5; n++) {
		io_prep_pread(list[n] = &i[n], fd, buffer, 10, 0);
		io_set_eventfd(&i[n], e);
	}
	IS(io_submit(ctx, 5, list), 5);
	get(5);
	for (n = 0; n < 200 && sum < 5; n++) {
		if (read(e, &got, 8) == 8)
			sum += got;
		else
			pause_ms(5);
	}
	IS(sum, 5);
	YES(read(e, &got, 8) < 0);
}

CASE(eventfd_comes_after_the_event)
{
	struct iocb i;
	int fds[2], e = eventfd(0, 0);
	pthread_t t;
	uint64_t got;
	struct timespec now = { 0, 0 };

	IS(pipe(fds), 0);
	setup(1);
	io_prep_poll(&i, fds[0], POLLIN);
	io_set_eventfd(&i, e);
	IS(one(&i), 1);
	IS(pthread_create(&t, NULL, write_later, &fds[1]), 0);
	IS(read(e, &got, 8), 8);
	IS(got, 1);
	IS(io_getevents(ctx, 1, 1, ev, &now), 1);
	IS(pthread_join(t, NULL), 0);
}

CASE(eventfd_and_the_ring_alone)
{
	struct iocb i;
	struct ring *r;
	int fds[2], e = eventfd(0, 0);
	pthread_t t;
	uint64_t got;

	IS(pipe(fds), 0);
	setup(1);
	r = (struct ring *)ctx;
	io_prep_poll(&i, fds[0], POLLIN);
	io_set_eventfd(&i, e);
	IS(one(&i), 1);
	IS(pthread_create(&t, NULL, write_later, &fds[1]), 0);
	IS(read(e, &got, 8), 8);
	IS(__atomic_load_n(&r->tail, __ATOMIC_ACQUIRE), 1);
	IS(r->events[0].res & POLLIN, POLLIN);
	__atomic_store_n(&r->head, 1, __ATOMIC_RELEASE);
	YES(none_left());
	IS(pthread_join(t, NULL), 0);
}

CASE(eventfd_bad) { struct iocb i; setup(1); io_prep_pread(&i, patterned(9, O_RDONLY), buffer, 9, 0); io_set_eventfd(&i, 999); IS(one(&i), -EBADF); YES(none_left()); }
CASE(eventfd_is_a_file) { struct iocb i; setup(1); io_prep_pread(&i, patterned(9, O_RDONLY), buffer, 9, 0); io_set_eventfd(&i, patterned(9, O_RDWR)); IS(one(&i), -EINVAL); }

CASE(eventfd_closed_meanwhile)
{
	struct iocb i;
	int fds[2], e = eventfd(0, 0), other;
	char name[] = "/tmp/aio2-suite-XXXXXX";

	IS(pipe(fds), 0);
	setup(1);
	io_prep_poll(&i, fds[0], POLLIN);
	io_set_eventfd(&i, e);
	IS(one(&i), 1);
	other = mkstemp(name);
	unlink(name);
	IS(dup2(other, e), e);
	IS(write(fds[1], "x", 1), 1);
	get(1);
	pause_ms(20);
	IS(lseek(other, 0, SEEK_END), 0);
}

CASE(eventfd_at_its_maximum)
{
	struct iocb i;
	int e = eventfd(0, 0);
	uint64_t most = UINT64_MAX - 1;

	IS(write(e, &most, 8), 8);
	setup(1);
	io_prep_pread(&i, patterned(9, O_RDONLY), buffer, 9, 0);
	io_set_eventfd(&i, e);
	IS(run(&i), 9);
}

/* ---- io_getevents ---- */

CASE(get_more_than_asked) { setup(1); IS(io_getevents(ctx, 2, 1, ev, NULL), -EINVAL); }
CASE(get_negative_min) { setup(1); IS(io_getevents(ctx, -1, 1, ev, NULL), -EINVAL); }
CASE(get_negative_nr) { setup(1); IS(io_getevents(ctx, 0, -1, ev, NULL), -EINVAL); }
CASE(get_nothing) { setup(1); IS(io_getevents(ctx, 0, 0, NULL, NULL), 0); IS(io_getevents(ctx, 0, 5, ev, NULL), 0); }
CASE(get_of_nothing) { struct timespec t = { 0, 1 }; IS(io_getevents(NULL, 1, 1, ev, &t), -EINVAL); }
CASE(get_without_waiting) { struct timespec t = { 0, 0 }; setup(1); IS(io_getevents(ctx, 1, 1, ev, &t), 0); }
CASE(get_bad_timeout) { setup(1); IS(io_pgetevents(ctx, 1, 1, ev, bad_address(), NULL), -EFAULT); }

CASE(get_times_out)
{
	struct timespec t = { 0, 30000000 }, a, b;

	setup(1);
	clock_gettime(CLOCK_MONOTONIC, &a);
	IS(io_getevents(ctx, 1, 1, ev, &t), 0);
	clock_gettime(CLOCK_MONOTONIC, &b);
	YES((b.tv_sec - a.tv_sec) * 1000000000L + b.tv_nsec - a.tv_nsec >= 30000000);
	IS(t.tv_nsec, 30000000);
}

CASE(get_part_when_time_is_over)
{
	struct timespec t = { 0, 20000000 };
	struct iocb i;

	setup(4);
	io_prep_pread(&i, patterned(9, O_RDONLY), buffer, 9, 0);
	IS(one(&i), 1);
	IS(io_getevents(ctx, 3, 4, ev, &t), 1);
}

CASE(get_at_most_nr)
{
	struct iocb i[5], *list[5];
	int fd = patterned(9, O_RDONLY), n;

	setup(8);
	for (n = 0; n < 5; n++)
		io_prep_pread(list[n] = &i[n], fd, buffer, 9, 0);
	IS(io_submit(ctx, 5, list), 5);
	IS(io_getevents(ctx, 2, 2, ev, NULL), 2);
	IS(io_getevents(ctx, 3, 3, ev, NULL), 3);
	YES(none_left());
}

CASE(get_to_a_bad_address)
{
	struct iocb i;

	setup(1);
	io_prep_pread(&i, patterned(9, O_RDONLY), buffer, 9, 0);
	IS(one(&i), 1);
	IS(io_getevents(ctx, 1, 1, bad_address(), NULL), -EFAULT);
	get(1);
	IS(ev[0].res, 9);
}

static void handler(int signal) { (void)signal; }

static void handle(int flags)
{
	struct sigaction act = { .sa_handler = handler, .sa_flags = flags };

	sigaction(SIGALRM, &act, NULL);
}

static void ring_in(int ms)
{
	struct itimerval timer = { { 0, 0 }, { 0, ms * 1000 } };

	setitimer(ITIMER_REAL, &timer, NULL);
}

CASE(get_interrupted) { setup(1); handle(0); ring_in(30); IS(io_getevents(ctx, 1, 1, ev, NULL), -EINTR); }
CASE(get_interrupted_though_restarting) { setup(1); handle(SA_RESTART); ring_in(30); IS(io_getevents(ctx, 1, 1, ev, NULL), -EINTR); }

CASE(pget_takes_events)
{
	struct iocb i;
	sigset_t set;

	sigfillset(&set);
	setup(1);
	io_prep_pread(&i, patterned(9, O_RDONLY), buffer, 9, 0);
	IS(one(&i), 1);
	IS(io_pgetevents(ctx, 1, 1, ev, NULL, &set), 1);
}

CASE(pget_lets_a_signal_in)
{
	sigset_t set;

	setup(1);
	handle(0);
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	raise(SIGALRM);
	sigemptyset(&set);
	IS(io_pgetevents(ctx, 1, 1, ev, NULL, &set), -EINTR);
	sigprocmask(SIG_BLOCK, NULL, &set);
	YES(sigismember(&set, SIGALRM));
}

CASE(pget_keeps_a_signal_out)
{
	struct timespec t = { 0, 60000000 };
	sigset_t set;

	setup(1);
	handle(0);
	sigfillset(&set);
	ring_in(20);
	IS(io_pgetevents(ctx, 1, 1, ev, &t, &set), 0);
}

CASE(get_is_woken_by_another_threads_submit)
{
	struct iocb i;
	pthread_t t;
	void *res;
	int n;

	for (n = 0; n < 50; n++) {
		setup(1);
		IS(pthread_create(&t, NULL, wait_for_one, NULL), 0);
		if (n % 2)
			pause_ms(2);
		io_prep_pread(&i, patterned(9, O_RDONLY), buffer, 9, 0);
		IS(one(&i), 1);
		IS(pthread_join(t, &res), 0);
		IS((long)res, 1);
		IS(io_destroy(ctx), 0);
	}
}

struct pair { io_context_t ctx; int fd; long res; };

static void *wait_for_pair(void *arg)
{
	struct pair *p = arg;
	struct io_event e;

	p->res = io_getevents(p->ctx, 1, 1, &e, NULL);
	return NULL;
}

CASE(waits_for_many_contexts)
{
	struct pair p[8] = { 0 };
	struct iocb i[8], *list[1];
	pthread_t t[8];
	int n, fds[8][2];

	for (n = 0; n < 8; n++) {
		IS(io_setup(1, &p[n].ctx), 0);
		IS(pipe(fds[n]), 0);
		io_prep_poll(list[0] = &i[n], fds[n][0], POLLIN);
		IS(io_submit(p[n].ctx, 1, list), 1);
		IS(pthread_create(&t[n], NULL, wait_for_pair, &p[n]), 0);
	}
	pause_ms(30);
	for (n = 7; n >= 0; n--) {
		IS(write(fds[n][1], "x", 1), 1);
		IS(pthread_join(t[n], NULL), 0);
		IS(p[n].res, 1);
	}
}

/* ---- the ring, reaped by the program ---- */

static int reap(struct io_event *e)
{
	struct ring *r = (struct ring *)ctx;
	unsigned head = r->head;

	if (head == __atomic_load_n(&r->tail, __ATOMIC_ACQUIRE))
		return 0;
	*e = r->events[head];
	__atomic_store_n(&r->head, (head + 1) % r->nr, __ATOMIC_RELEASE);
	return 1;
}

CASE(ring_reaped_by_the_program)
{
	static struct iocb i[16], *list[16];
	int fd = patterned(BLOCK, O_RDONLY), n, round, got;

	setup(16);
	for (round = 0; round < 1000; round++) {
		for (n = 0; n < 16; n++) {
			io_prep_pread(list[n] = &i[n], fd, buffer, 16, n);
			i[n].data = (void *)(long)(round * 16 + n);
		}
		IS(io_submit(ctx, 16, list), 16);
		for (got = 0; got < 16;)
			if (reap(&ev[0])) {
				IS(ev[0].res, 16);
				got++;
			}
	}
	YES(none_left());
}

CASE(ring_without_an_eventfd)
{
	struct iocb i;
	int fds[2], n;
	pthread_t t;

	IS(pipe(fds), 0);
	setup(1);
	io_prep_poll(&i, fds[0], POLLIN);
	IS(one(&i), 1);
	IS(pthread_create(&t, NULL, write_later, &fds[1]), 0);
	for (n = 0; !reap(&ev[0]); n++) {
		YES(n < 2000);
		pause_ms(1);
	}
	IS(ev[0].res & POLLIN, POLLIN);
	IS(pthread_join(t, NULL), 0);
}

CASE(ring_and_calls_mixed)
{
	static struct iocb i[4], *list[4];
	int fd = patterned(BLOCK, O_RDONLY), n, round;

	setup(4);
	for (round = 0; round < 500; round++) {
		for (n = 0; n < 4; n++)
			io_prep_pread(list[n] = &i[n], fd, buffer, 16, n);
		IS(io_submit(ctx, 4, list), 4);
		YES(reap(&ev[0]));
		get(2);
		YES(reap(&ev[0]));
	}
	YES(none_left());
}

/* ---- threads, processes ---- */

#define THREADS		4
#define EACH		2000

static int shared_fd;
static char taken[THREADS][EACH];

static void *submitter(void *arg)
{
	long me = (long)arg, n;
	static __thread char mine[64];
	struct iocb *i = calloc(EACH, sizeof(*i)), *list[1];

	for (n = 0; n < EACH; n++) {
		io_prep_pread(list[0] = &i[n], shared_fd, mine, 64, 0);
		i[n].data = (void *)(me * EACH + n);
		while (io_submit(ctx, 1, list) != 1)
			sched_yield();
	}
	return NULL;
}

static long reaped;

static void *taker(void *arg)
{
	struct timespec t = { 0, 10000000 };
	struct io_event e[16];
	int n, got;

	(void)arg;
	while (__atomic_load_n(&reaped, __ATOMIC_RELAXED) < THREADS * EACH) {
		got = io_getevents(ctx, 1, 16, e, &t);
		YES(got >= 0);
		for (n = 0; n < got; n++) {
			long which = (long)e[n].data;

			IS(e[n].res, 64);
			IS(__atomic_fetch_add(&taken[which / EACH][which % EACH], 1, __ATOMIC_RELAXED), 0);
			__atomic_fetch_add(&reaped, 1, __ATOMIC_RELAXED);
		}
	}
	return NULL;
}

CASE(threads_each_event_once)
{
	pthread_t t[2 * THREADS];
	long n;

	shared_fd = patterned(64, O_RDONLY);
	setup(64);
	for (n = 0; n < THREADS; n++) {
		IS(pthread_create(&t[n], NULL, submitter, (void *)n), 0);
		IS(pthread_create(&t[THREADS + n], NULL, taker, NULL), 0);
	}
	for (n = 0; n < 2 * THREADS; n++)
		IS(pthread_join(t[n], NULL), 0);
	YES(none_left());
}

static int child_of(void (*what)(void))
{
	int status;
	pid_t child;

	fflush(NULL);
	child = fork();
	if (!child) {
		what();
		_exit(0);
	}
	IS(waitpid(child, &status, 0), child);
	return status;
}

static void use_the_parents(void)
{
	struct iocb i;
	struct timespec t = { 0, 1000 };

	io_prep_pread(&i, patterned(9, O_RDONLY), buffer, 9, 0);
	IS(one(&i), -EINVAL);
	IS(io_getevents(ctx, 1, 1, ev, &t), -EINVAL);
	IS(io_destroy(ctx), -EINVAL);
}

CASE(child_has_not_the_parents_context)
{
	struct iocb i;

	setup(1);
	io_prep_pread(&i, patterned(9, O_RDONLY), buffer, 9, 0);
	IS(run(&i), 9);
	IS(child_of(use_the_parents), 0);
	IS(run(&i), 9);
}

static void use_its_own(void)
{
	struct iocb i;
	int fds[2];
	pthread_t t;

	setup(1);
	io_prep_pread(&i, patterned(9, O_RDONLY), buffer, 9, 0);
	IS(run(&i), 9);
	IS(pipe(fds), 0);
	io_prep_poll(&i, fds[0], POLLIN);
	IS(one(&i), 1);
	IS(pthread_create(&t, NULL, write_later, &fds[1]), 0);
	get(1);
}

CASE(child_has_a_context_of_its_own)
{
	struct iocb i;
	int fds[2];

	setup(1);
	IS(pipe(fds), 0);
	io_prep_poll(&i, fds[0], POLLIN);
	IS(one(&i), 1);
	IS(child_of(use_its_own), 0);
	IS(write(fds[1], "x", 1), 1);
	get(1);
	IS(ev[0].res & POLLIN, POLLIN);
}

static void leave(void) { exit(7); }

static void leave_with_requests(void)
{
	struct iocb i;
	int fds[2];

	IS(pipe(fds), 0);
	setup(1);
	io_prep_poll(&i, fds[0], POLLIN);
	IS(one(&i), 1);
	exit(7);
}

CASE(exit_with_requests_in_flight) { IS(child_of(leave_with_requests), 7 << 8); }
CASE(exit_of_a_child) { setup(1); IS(child_of(leave), 7 << 8); }

static void *submit_a_poll(void *arg)
{
	static struct iocb i;

	io_prep_poll(&i, *(int *)arg, POLLIN);
	IS(one(&i), 1);
	return NULL;
}

CASE(request_outlives_its_thread)
{
	int fds[2];
	pthread_t t;

	IS(pipe(fds), 0);
	setup(1);
	IS(pthread_create(&t, NULL, submit_a_poll, &fds[0]), 0);
	IS(pthread_join(t, NULL), 0);
	IS(write(fds[1], "x", 1), 1);
	get(1);
	IS(ev[0].res & POLLIN, POLLIN);
}

/* ---- old versions, and the queue ---- */

CASE(old_getevents)
{
	int (*old)(io_context_t, long, struct io_event *, const struct timespec *) =
		dlvsym(RTLD_DEFAULT, "io_getevents", "LIBAIO_0.1");
	struct timespec t = { 0, 10000000 };
	struct iocb i;

	YES(old);
	setup(1);
	IS(old(ctx, 4, ev, &t), 0);
	io_prep_pread(&i, patterned(9, O_RDONLY), buffer, 9, 0);
	IS(one(&i), 1);
	IS(old(ctx, 4, ev, NULL), 1);
}

CASE(old_cancel)
{
	int (*old)(io_context_t, struct iocb *) = dlvsym(RTLD_DEFAULT, "io_cancel", "LIBAIO_0.1");
	struct iocb i;

	YES(old);
	setup(1);
	io_prep_pread(&i, patterned(9, O_RDONLY), buffer, 9, 0);
	IS(run(&i), 9);
	IS(old(ctx, &i), -EINVAL);
}

CASE(old_queue_wait)
{
	int (*old)(io_context_t, const struct timespec *) = dlvsym(RTLD_DEFAULT, "io_queue_wait", "LIBAIO_0.1");
	struct timespec t = { 0, 1000 };

	YES(old);
	setup(1);
	IS(old(ctx, &t), 0);
}

CASE(queue_init_of_nothing) { IS(io_queue_init(0, &ctx), -EINVAL); IS(io_queue_init(-1, &ctx), -EINVAL); }

static int called;

static void callback(io_context_t c, struct iocb *i, long res, long res2)
{
	YES(c == ctx && i && res2 == 0);
	IS(res, 9);
	called++;
}

CASE(queue_run_calls_back)
{
	struct iocb i[3], *list[3];
	struct timespec t = { 0, 1000 };
	int fd = patterned(9, O_RDONLY), n;

	ctx = (io_context_t)5;
	IS(io_queue_init(4, &ctx), 0);
	for (n = 0; n < 3; n++) {
		io_prep_pread(list[n] = &i[n], fd, buffer, 9, 0);
		io_set_callback(&i[n], callback);
	}
	IS(io_submit(ctx, 3, list), 3);
	for (n = 0; n < 500 && called < 3; n++) {
		IS(io_queue_run(ctx), 0);
		pause_ms(1);
	}
	IS(called, 3);
	IS(io_queue_wait(ctx, &t), 0);
	IS(io_queue_release(ctx), 0);
}

CASE(closed_and_opened_again)
{
	int n;

	for (n = 0; n < 3; n++) {
		void *lib = dlopen("libaio.so.1", RTLD_NOW);

		YES(lib);
		IS(dlclose(lib), 0);
	}
}

/* ---- durability and data, once more and larger ---- */

CASE(large_copy_by_many_requests)
{
	enum { PIECES = 256 };
	static char data[PIECES][BLOCK], back[PIECES * BLOCK];
	static struct iocb i[PIECES], *list[PIECES];
	int fd = file("", 0, O_RDWR), n;

	setup(PIECES);
	for (n = 0; n < PIECES; n++) {
		pattern(data[n], BLOCK, n);
		io_prep_pwrite(list[n] = &i[n], fd, data[n], BLOCK, (long long)n * BLOCK);
	}
	IS(io_submit(ctx, PIECES, list), PIECES);
	for (n = 0; n < PIECES; n += 64)
		get(64);
	io_prep_fsync(&i[0], fd);
	IS(run(&i[0]), 0);
	for (n = 0; n < PIECES; n++)
		io_prep_pread(&i[n], fd, back + n * BLOCK, BLOCK, (long long)n * BLOCK);
	IS(io_submit(ctx, PIECES, list), PIECES);
	for (n = 0; n < PIECES; n += 64)
		get(64);
	IS(memcmp(data, back, sizeof(back)), 0);
}

int main(int argc, char **argv)
{
	int n, a, failed = 0;

	dir = argc > 1 ? argv[1] : "/tmp";
	for (n = 0; n < count; n++) {
		int status, wanted = argc <= 2;
		pid_t child;

		for (a = 2; a < argc; a++)
			wanted |= !strcmp(argv[a], tests[n].name);
		if (!wanted)
			continue;
		current = tests[n].name;
		fflush(stdout);
		child = fork();
		if (!child) {
			alarm(getenv("SUITE_LIMIT") ? atoi(getenv("SUITE_LIMIT")) : LIMIT_S);
			tests[n].run();
			_exit(0);
		}
		waitpid(child, &status, 0);
		if (!status) {
			printf("ok %s\n", current);
			continue;
		}
		failed++;
		if (WIFSIGNALED(status))
			printf("not ok %s: signal %d\n", current, WTERMSIG(status));
		else if (WEXITSTATUS(status) != 1)
			printf("not ok %s: exit status %d\n", current, WEXITSTATUS(status));
	}
	printf("%d cases, %d failed\n", count, failed);
	return failed != 0;
}
