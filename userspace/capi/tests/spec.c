/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * An application, a consumer and a producer as a reader of SPEC.md writes them:
 * from its text and <linux/aio2.h> alone. What is taken of the library are the
 * calls, which in the engine are functions, and where a ring is mapped. Each piece
 * names the section that it was written from.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio2.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <aio2/context.h>

#define CHECK(what) do {							\
	if (!(what)) {								\
		fprintf(stderr, "line %d: %s\n", __LINE__, #what);		\
		_exit(1);							\
	}									\
} while (0)

/* ---- 5.5: a consumer that shares the ring with others ---- */

enum found { NOTHING, EVENT, OVERFLOWS, FROZEN, DEAD, CORRUPT };

struct consumer {
	struct aio2_ring ring;
	int corrupt;
};

union event {
	struct aio2_event head;
	__u64 words[AIO2_EVENT_MAX / 8];
};

/* Takes the oldest event to *to, which has room for event_max. */
static enum found reap(struct consumer *c, union event *to)
{
	struct aio2_ring *r = &c->ring;
	__u64 head = __atomic_load_n(r->head, __ATOMIC_ACQUIRE);

	while (!c->corrupt) {
		__u32 tail = __atomic_load_n(r->tail, __ATOMIC_ACQUIRE);
		__u32 distance = tail - (__u32)head, flags;
		const __u64 *from = r->data + ((__u32)head & (r->ring_bytes - 1)) / 8;
		__u64 next = head;

		if (!distance) {
			/* 5.6, 5.8: flags, then tail again */
			__atomic_thread_fence(__ATOMIC_SEQ_CST);
			flags = __atomic_load_n(r->flags, __ATOMIC_ACQUIRE);
			tail = __atomic_load_n(r->tail, __ATOMIC_ACQUIRE);
			head = __atomic_load_n(r->head, __ATOMIC_ACQUIRE);
			if (tail != (__u32)head)
				continue;
			return flags & AIO2_RING_FROZEN ? FROZEN :
			       flags & AIO2_RING_OVERFLOW ? OVERFLOWS :
			       flags & AIO2_RING_DEAD ? DEAD : NOTHING;
		}
		if (distance <= r->ring_bytes && !(distance & 7)) {
			to->words[0] = __atomic_load_n(from, __ATOMIC_RELAXED);
			if (to->head.len >= 8 && !(to->head.len & 7) &&
			    to->head.len <= r->event_max && to->head.len <= distance) {
				for (__u32 i = 1; i < to->head.len / 8; i++)
					to->words[i] = __atomic_load_n(from + i, __ATOMIC_RELAXED);
				next = head + to->head.len;
			}
		}
		if (__atomic_compare_exchange_n(r->head, &head, next, 0, __ATOMIC_RELEASE,
						__ATOMIC_ACQUIRE)) {
			if (next != head)
				return EVENT;
			c->corrupt = 1;
		}
	}
	return CORRUPT;
}

/* 7: what stands in an event; the status of the n-th return, its payload in *at. */
static int status_of(const union event *e, unsigned int n, const void **at)
{
	const char *p = (const char *)(&e->head + 1), *end = (const char *)e + e->head.len;

	for (; p < end; p += ((const struct aio2_return *)p)->len) {
		const struct aio2_return *ret = (const void *)p;

		if (!n--) {
			*at = ret + 1;
			return ret->status;
		}
	}
	return 1;
}

/* ---- 4.1 to 4.4: the calls ---- */

static struct aio2_context *setup(struct aio2_setup *p)
{
	struct aio2_context *ctx;

	p->version = AIO2_VERSION;
	CHECK(aio2_context_new(p, AIO2_PREFER_ENGINE, &ctx) == 0);
	CHECK(p->version == 1 && p->event_max <= AIO2_EVENT_MAX);
	return ctx;
}

/* Waits for min events without taking them, at most so many ns. */
static long await(struct aio2_context *ctx, __u32 min, __u64 ns)
{
	struct aio2_getevents args = { .flags = AIO2_GET_TIMEOUT, .min_events = min,
				       .timeout = ns };

	return aio2_getevents(ctx, &args);
}

#define LONG 20000000000ULL

/* The next event, of whichever ring it is in. */
static void next_event(struct aio2_context *ctx, struct consumer *c, union event *e)
{
	for (;;) {
		switch (reap(c, e)) {
		case EVENT:
			CHECK(e->head.len >= sizeof(e->head));
			return;
		case FROZEN:
			CHECK(aio2_ring_next(ctx, &c->ring) == 0);
			break;
		case OVERFLOWS:
			CHECK(await(ctx, 0, 0) == 0);
			break;
		case NOTHING:
			CHECK(await(ctx, 1, LONG) == 0);
			break;
		default:
			CHECK(!"the ring is sound and alive");
		}
	}
}

/* ---- 6.1, 8: iocbs, with attributes ---- */

struct stream {
	__u64 words[4096];
	__u32 bytes, last;
};

static void add(struct stream *s, __u32 nr, __u16 flags, __u64 user_data, __u16 nr_args,
		__u64 a, __u64 b, __u64 c)
{
	struct aio2_iocb *iocb = (void *)((char *)s->words + s->bytes);
	__u64 args[] = { a, b, c };

	*iocb = (struct aio2_iocb){ .len = sizeof(*iocb) + 8 * nr_args, .nr_args = nr_args,
				    .flags = flags, .nr = nr, .user_data = user_data };
	memcpy(iocb->args, args, 8 * nr_args);
	s->last = s->bytes;
	s->bytes += iocb->len;
}

static void attr(struct stream *s, __u16 id, __u32 flags, const void *payload, __u16 bytes)
{
	struct aio2_iocb *iocb = (void *)((char *)s->words + s->last);
	struct aio2_attr *attr = (void *)((char *)s->words + s->bytes);

	*attr = (struct aio2_attr){ .id = id, .len = sizeof(*attr) + bytes, .flags = flags };
	memcpy(attr + 1, payload, bytes);
	iocb->len += attr->len;
	s->bytes += attr->len;
}

static __u64 id_of(struct stream *s)
{
	return ((struct aio2_iocb *)((char *)s->words + s->last))->id;
}

static void submit(struct aio2_context *ctx, struct stream *s)
{
	CHECK(aio2_submit(ctx, s->words, s->bytes) == (long)s->bytes);
	s->bytes = 0;
}

static void expect(struct aio2_context *ctx, struct consumer *c, __u64 user_data, __s64 res,
		   __u32 flags, union event *e)
{
	next_event(ctx, c, e);
	CHECK(e->head.user_data == user_data && e->head.res == res && e->head.flags == flags);
}

static void requests(void)
{
	struct aio2_setup p = { .concurrency = 1 };
	struct aio2_context *ctx = setup(&p);
	struct consumer c = { .corrupt = 0 };
	struct aio2_cancel cancel = { .flags = AIO2_CANCEL_ID | AIO2_CANCEL_WAIT };
	struct aio2_getevents wait = { .flags = AIO2_GET_ID | AIO2_GET_TIMEOUT };
	static struct stream s;
	const struct aio2_timing_return *times;
	struct aio2_after after = { .target = 1, .kind = AIO2_AFTER_STREAM };
	struct aio2_deadline deadline = { .timeout_ns = 1000000 };
	struct aio2_group group = { .key = 77 };
	const void *at;
	union event e;
	int pipes[2];
	char byte = 0;
	__u64 id;

	CHECK(aio2_ring(ctx, &c.ring) == 0 && pipe(pipes) == 0);
	/* 6.1: a stream of two, and returns in the order of the request */
	add(&s, AIO2_OP_NOP, 0, 1, 0, 0, 0, 0);
	attr(&s, AIO2_ATTR_TIMING, AIO2_ATTR_RETURN, "", 0);
	attr(&s, 40, AIO2_ATTR_RETURN, "", 0);
	add(&s, SYS_write, 0, 2, 3, pipes[1], (unsigned long)"x", 1);
	submit(ctx, &s);
	expect(ctx, &c, 1, 0, 0, &e);
	CHECK(e.head.len == 24 + 32 + 8);
	CHECK(status_of(&e, 1, &at) == -EOPNOTSUPP && status_of(&e, 0, &at) == 0);
	times = at;
	CHECK(times->submitted <= times->started && times->started <= times->completed);
	expect(ctx, &c, 2, 1, 0, &e);

	/* 4.3: what sleeps, waited for by its id; 4.4: cancelled, and waited for */
	CHECK(read(pipes[0], &byte, 1) == 1);
	add(&s, SYS_read, AIO2_IOCB_WRITE_ID, 3, 3, pipes[0], (unsigned long)&byte, 1);
	submit(ctx, &s);
	id = wait.id = cancel.id = id_of(&s);
	CHECK(id != 0 && aio2_getevents(ctx, &wait) == -ETIME);
	CHECK(aio2_cancel(ctx, &cancel) == 1);
	CHECK(cancel.cancelled + cancel.interrupted == 1 && cancel.too_late == 0);
	CHECK(aio2_getevents(ctx, &wait) == 0);
	next_event(ctx, &c, &e);
	CHECK(e.head.user_data == 3 && e.head.res == -ECANCELED);
	/* 6.8: the memory is mine again */
	byte = 'm';
	CHECK(write(pipes[1], "y", 1) == 1 && aio2_cancel(ctx, &cancel) == -ENOENT);
	CHECK(byte == 'm' && read(pipes[0], &byte, 1) == 1 && byte == 'y');

	/* 6.6, 7, 9.3: what never began says so, and fails what comes after it */
	add(&s, SYS_ptrace, 0, 4, 0, 0, 0, 0);
	add(&s, AIO2_OP_NOP, 0, 5, 0, 0, 0, 0);
	attr(&s, AIO2_ATTR_AFTER, 0, &after, sizeof(after));
	submit(ctx, &s);
	expect(ctx, &c, 4, -EOPNOTSUPP, AIO2_EVENT_NOT_STARTED, &e);
	expect(ctx, &c, 5, -ECANCELED, AIO2_EVENT_NOT_STARTED, &e);

	/* 8, 9.2: a member with a deadline, and the group's own event */
	add(&s, AIO2_OP_POLL, 0, 6, 2, pipes[0], POLLIN, 0);
	attr(&s, AIO2_ATTR_DEADLINE, 0, &deadline, sizeof(deadline));
	attr(&s, AIO2_ATTR_GROUP, 0, &group, sizeof(group));
	add(&s, AIO2_OP_GROUP, 0, 7, 1, group.key, 0, 0);
	submit(ctx, &s);
	expect(ctx, &c, 6, -ETIMEDOUT, 0, &e);
	expect(ctx, &c, 7, 1, 0, &e);

	/* 6.3: POLL with MULTISHOT; MORE until it is cancelled */
	add(&s, AIO2_OP_POLL, AIO2_IOCB_MULTISHOT, 8, 2, pipes[0], POLLIN, 0);
	submit(ctx, &s);
	for (int i = 0; i < 3; i++) {
		CHECK(write(pipes[1], "z", 1) == 1);
		expect(ctx, &c, 8, POLLIN, AIO2_EVENT_MORE, &e);
	}
	cancel = (struct aio2_cancel){ .flags = AIO2_CANCEL_USER_DATA, .user_data = 8 };
	CHECK(aio2_cancel(ctx, &cancel) == 1 && cancel.interrupted == 1);
	expect(ctx, &c, 8, -ECANCELED, 0, &e);

	/* 6.2: malformed, and the one before it is accepted */
	add(&s, AIO2_OP_NOP, 0, 9, 0, 0, 0, 0);
	add(&s, AIO2_OP_NOP, 1 << 15, 10, 0, 0, 0, 0);
	CHECK(aio2_submit(ctx, s.words, s.bytes) == 32);
	CHECK(aio2_submit(ctx, s.words + 4, 32) == -EINVAL);
	expect(ctx, &c, 9, 0, 0, &e);
	CHECK(await(ctx, 1, 0) == -ETIME && reap(&c, &e) == NOTHING);
	CHECK(aio2_context_free(ctx) == 0);
}

/* ---- 5.5, 5.6, 5.8, 10: many consumers, a list that overflows, rings that grow ---- */

#define EVENTS 30000
#define THREADS 4

static struct aio2_context *shared;
static unsigned char seen[EVENTS];
static unsigned int left = EVENTS, overflows, rings;

static void *submits(void *unused)
{
	static struct stream s;
	__u32 at;

	(void)unused;
	for (__u64 n = 0; n < EVENTS; ) {
		for (s.bytes = at = 0; n < EVENTS && s.bytes < 1024; n++)
			add(&s, AIO2_OP_NOP, n % 5 ? 0 : AIO2_IOCB_ASYNC, n, 0, 0, 0, 0);
		while (at < s.bytes) {
			long bytes = aio2_submit(shared, (char *)s.words + at, s.bytes - at);

			CHECK(bytes >= 0 || bytes == -EAGAIN);
			at += bytes > 0 ? bytes : 0;
		}
		if (n % 10000 < 32)
			CHECK(aio2_grow(shared, 4096 << (1 + n / 10000)) > 0);
	}
	return NULL;
}

static void *reaps(void *unused)
{
	struct consumer c = { .corrupt = 0 };
	union event e;

	(void)unused;
	CHECK(aio2_ring(shared, &c.ring) == 0);
	while (__atomic_load_n(&left, __ATOMIC_RELAXED)) {
		switch (reap(&c, &e)) {
		case EVENT:
			CHECK(e.head.len == 24 && e.head.user_data < EVENTS && !e.head.res);
			CHECK(!__atomic_fetch_add(&seen[e.head.user_data], 1, __ATOMIC_RELAXED));
			__atomic_fetch_sub(&left, 1, __ATOMIC_RELAXED);
			break;
		case FROZEN:
			/* the others may have emptied it by now, or not yet */
			CHECK(aio2_ring_next(shared, &c.ring) == 0);
			__atomic_fetch_add(&rings, 1, __ATOMIC_RELAXED);
			break;
		case OVERFLOWS:
			__atomic_fetch_add(&overflows, 1, __ATOMIC_RELAXED);
			CHECK(await(shared, 0, 0) == 0);
			break;
		case NOTHING:
			await(shared, 1, 1000000);
			break;
		default:
			CHECK(!"the ring is sound and alive");
		}
	}
	return NULL;
}

static void many_consumers(void)
{
	struct aio2_setup p = { .ring_bytes = 4096, .max_requests = 300 };
	pthread_t threads[THREADS + 1];

	shared = setup(&p);
	for (int i = 0; i <= THREADS; i++)
		CHECK(!pthread_create(&threads[i], NULL, i ? reaps : submits, NULL));
	for (int i = 0; i <= THREADS; i++)
		CHECK(!pthread_join(threads[i], NULL));
	for (int n = 0; n < EVENTS; n++)
		CHECK(seen[n] == 1);
	printf("asked for the overflow list %u times, went on to a ring %u times; ", overflows,
	       rings);
	CHECK(aio2_context_free(shared) == 0);
}

/* ---- 5.7: one that sleeps on the eventfd ---- */

static void sleeper(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct aio2_setup p = { .flags = AIO2_SETUP_EVENTFD, .eventfd = fd,
				.ring_bytes = 4096, .max_requests = 64 };
	struct consumer c = { .corrupt = 0 };
	static struct stream s;
	unsigned int slept = 0, got = 0;
	union event e;
	__u64 count;

	shared = setup(&p);
	CHECK(aio2_ring(shared, &c.ring) == 0);
	__atomic_store_n(c.ring.notify, AIO2_NOTIFY_OFF, __ATOMIC_RELAXED);
	for (unsigned int round = 0; round < 500; round++) {
		for (unsigned int n = 0; n <= round % 40; n++)
			add(&s, AIO2_OP_NOP, AIO2_IOCB_ASYNC, n, 0, 0, 0, 0);
		submit(shared, &s);
		for (got = 0; got <= round % 40; ) {
			struct pollfd pfd = { .fd = fd, .events = POLLIN };
			enum found found = reap(&c, &e);

			if (found == EVENT) {
				got++;
				continue;
			}
			if (found == OVERFLOWS) {
				CHECK(await(shared, 0, 0) == 0);
				continue;
			}
			CHECK(found == NOTHING);
			__atomic_store_n(c.ring.notify, AIO2_NOTIFY_ON, __ATOMIC_RELAXED);
			/* it has a full fence before it says that there is nothing */
			__atomic_thread_fence(__ATOMIC_SEQ_CST);
			found = reap(&c, &e);
			got += found == EVENT;
			if (found == NOTHING) {
				CHECK(poll(&pfd, 1, 20000) == 1);
				slept++;
			}
			__atomic_store_n(c.ring.notify, AIO2_NOTIFY_OFF, __ATOMIC_RELAXED);
			(void)!read(fd, &count, sizeof(count));
		}
	}
	CHECK(aio2_context_free(shared) == 0);
	close(fd);
	printf("slept %u times; ", slept);
}

/* ---- appendix F, 5.4: a ring between two processes, both ends from the text ---- */

#define RING 4096U
#define SENT 50000ULL

static void produce(int cfd, int pfd)
{
	long page = sysconf(_SC_PAGESIZE);
	struct aio2_ring_consumer *cons = mmap(NULL, page, PROT_READ, MAP_SHARED, cfd, 0);
	struct aio2_ring_producer *prod = mmap(NULL, page + RING, PROT_READ | PROT_WRITE,
					       MAP_SHARED, pfd, 0);
	__u64 *data = (void *)((char *)prod + page), n = 0;
	__u32 tail = 0xfffff000;

	CHECK(cons != MAP_FAILED && prod != MAP_FAILED);
	while (n < SENT) {
		__u32 words = 3 + n % 7;
		__u32 used = tail - (__u32)__atomic_load_n(&cons->head, __ATOMIC_ACQUIRE);

		CHECK(used <= RING && !(used & 7));
		if (8 * words > RING - used)
			continue;
		for (__u32 i = 0; i < words; i++) {
			struct { __u32 len, flags; } first = { 8 * words, 0 };
			__u64 word = n;

			if (!i)
				memcpy(&word, &first, 8);
			__atomic_store_n(&data[(tail + 8 * i) % RING / 8], word, __ATOMIC_RELAXED);
		}
		tail += 8 * words;
		__atomic_store_n(&prod->tail, tail, __ATOMIC_RELEASE);
		n++;
	}
	_exit(0);
}

static void between_processes(void)
{
	long page = sysconf(_SC_PAGESIZE);
	int size = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL, status;
	int cfd = memfd_create("consumer", MFD_ALLOW_SEALING);
	int pfd = memfd_create("producer", MFD_ALLOW_SEALING);
	struct aio2_ring_consumer first = { .head = 0x5fffff000 };
	struct aio2_ring_producer prod = { .magic = AIO2_RING_MAGIC, .version = 1,
					   .ring_bytes = RING, .event_max = 72,
					   .tail = 0xfffff000 };
	struct consumer c = { .corrupt = 0 };
	struct aio2_ring_consumer *cons;
	union event e;
	char *room;
	pid_t child;

	CHECK(ftruncate(cfd, page) == 0 && ftruncate(pfd, page + RING) == 0);
	CHECK(pwrite(cfd, &first, sizeof(first), 0) == sizeof(first));
	CHECK(pwrite(pfd, &prod, sizeof(prod), 0) == sizeof(prod));
	child = fork();
	CHECK(child >= 0);
	if (!child)
		produce(cfd, pfd);
	/* the consumer: its own look at all of it */
	memset(&prod, 0, sizeof(prod));
	CHECK(pread(pfd, &prod, sizeof(prod), 0) == sizeof(prod));
	CHECK(prod.magic == AIO2_RING_MAGIC && prod.version == 1 && prod.ring_bytes == RING);
	cons = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, cfd, 0);
	room = mmap(NULL, page + 2 * RING, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(cons != MAP_FAILED && room != MAP_FAILED);
	CHECK(mmap(room, page + RING, PROT_READ, MAP_SHARED | MAP_FIXED, pfd, 0) == room);
	CHECK(mmap(room + page + RING, RING, PROT_READ, MAP_SHARED | MAP_FIXED, pfd, page) ==
	      room + page + RING);
	CHECK(fcntl(cfd, F_ADD_SEALS, size) == 0);
	c.ring = (struct aio2_ring){
		.head = &cons->head, .notify = &cons->notify,
		.tail = &((struct aio2_ring_producer *)room)->tail,
		.flags = &((struct aio2_ring_producer *)room)->flags,
		.data = (void *)(room + page), .ring_bytes = RING, .event_max = prod.event_max,
	};
	for (__u64 n = 0; n < SENT; ) {
		enum found found = reap(&c, &e);

		CHECK(found == EVENT || found == NOTHING);
		if (found == NOTHING)
			continue;
		CHECK(e.head.len == 8 * (3 + n % 7));
		for (__u32 i = 1; i < e.head.len / 8; i++)
			CHECK(e.words[i] == n);
		n++;
	}
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	/* 5.5, step 2: a head that cannot be is corruption, and stays it */
	__atomic_fetch_add(&cons->head, 4, __ATOMIC_RELAXED);
	CHECK(reap(&c, &e) == CORRUPT && reap(&c, &e) == CORRUPT);
}

int main(void)
{
	requests();
	many_consumers();
	sleeper();
	between_processes();
	printf("%d events by %d consumers, %llu between processes\n", EVENTS, THREADS, SENT);
	return 0;
}
