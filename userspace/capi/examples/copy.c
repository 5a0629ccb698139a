/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Copies a file: DEPTH reads in flight, each followed by the write of what it
 * read, the events reaped from the mapped ring. Prints what came from the cache.
 *
 *     cc copy.c $(pkg-config --cflags --libs aio2) && ./a.out FROM TO
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <aio2/aio2.h>

#define DEPTH	8
#define BLOCK	65536

struct piece {
	char	data[BLOCK];
	off_t	offset;
	size_t	bytes;
	int	writing;
};

static struct piece pieces[DEPTH];
static struct aio2_context *ctx;
static struct aio2_ring ring;
static int from, to;

static void check(long result, const char *what)
{
	if (result < 0) {
		fprintf(stderr, "%s: %s\n", what, strerror(-result));
		exit(1);
	}
}

static void add(struct aio2_iocbs *iocbs, struct piece *p)
{
	__u64 user_data = p - pieces;

	if (p->writing) {
		check(aio2_add_pwrite(iocbs, to, p->data, p->bytes, p->offset,
				      user_data), "iocb");
		/* All of it, or an error. */
		check(aio2_set_flags(iocbs, AIO2_IOCB_FULL), "flags");
	} else {
		check(aio2_add_pread(iocbs, from, p->data, BLOCK, p->offset,
				     user_data), "iocb");
		check(aio2_ask(iocbs, AIO2_ATTR_CACHE), "attribute");
	}
}

/* Events of the mapped ring; sleeps only if there are none. */
static long reap(__u64 *events, size_t bytes)
{
	for (;;) {
		struct aio2_getevents wait = { 0 };
		long got = aio2_reap(&ring, events, bytes, -1UL);

		if (got)
			return got;
		if (aio2_ring_pending(&ring) == AIO2_PENDING_FROZEN) {
			check(aio2_ring_next(ctx, &ring), "next ring");
			continue;
		}
		wait.min_events = 1;
		got = aio2_getevents(ctx, &wait);
		if (got != -EINTR)
			check(got, "wait");
	}
}

int main(int argc, char **argv)
{
	struct aio2_setup setup = { 0 };
	__u64 memory[DEPTH * 32], events[1024];
	__u64 hit = 0, miss = 0;
	unsigned int in_flight = 0, i;
	struct aio2_iocbs iocbs;
	struct stat st;
	off_t next = 0;

	if (argc != 3) {
		fprintf(stderr, "usage: copy FROM TO\n");
		return 2;
	}
	from = open(argv[1], O_RDONLY | O_CLOEXEC);
	to = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (from < 0 || to < 0 || fstat(from, &st)) {
		perror("open");
		return 1;
	}
	setup.version = AIO2_VERSION;
	check(aio2_context_new(&setup, AIO2_PREFER_AUTO, &ctx), "context");
	check(aio2_ring(ctx, &ring), "ring");
	check(aio2_iocbs_init(&iocbs, memory, sizeof(memory)), "iocbs");
	for (i = 0; i < DEPTH && next < st.st_size; i++, next += BLOCK) {
		pieces[i].offset = next;
		add(&iocbs, &pieces[i]);
		in_flight++;
	}
	while (in_flight) {
		const struct aio2_event *event;
		size_t pos = 0;
		long got;

		/* It has room for all: fewer than the limit are in flight. */
		check(aio2_submit(ctx, memory, iocbs.bytes), "submit");
		check(aio2_iocbs_init(&iocbs, memory, sizeof(memory)), "iocbs");
		got = reap(events, sizeof(events));
		check(got, "reap");
		while ((event = aio2_event_next(events, got, &pos))) {
			struct piece *p = &pieces[event->user_data];
			const void *payload;

			in_flight--;
			check(event->res, p->writing ? "write" : "read");
			if (!p->writing) {
				const struct aio2_cache_return *cache;

				if (aio2_event_return(event, AIO2_ATTR_CACHE,
						      &payload) >= 0) {
					cache = payload;
					hit += cache->hit;
					miss += cache->miss;
				}
				p->bytes = event->res;
				p->writing = p->bytes > 0;
				/* The file became shorter meanwhile. */
				if (!p->writing)
					continue;
			} else if (p->bytes < BLOCK &&
				   p->offset + (off_t)p->bytes < st.st_size) {
				/* A short read: the rest of its block. */
				p->offset += p->bytes;
				p->writing = 0;
			} else if (next < st.st_size) {
				p->offset = next;
				next += BLOCK;
				p->writing = 0;
			} else {
				continue;
			}
			add(&iocbs, p);
			in_flight++;
		}
	}
	check(aio2_context_free(ctx), "free");
	if (close(to)) {
		perror("close");
		return 1;
	}
	printf("%llu bytes from the cache, %llu not\n",
	       (unsigned long long)hit, (unsigned long long)miss);
	return 0;
}
