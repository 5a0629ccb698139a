/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What each function of the C API promises, asked of the engine. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include <aio2/aio2.h>

static int asked;

static void is(long got, long wanted, int line, const char *what)
{
	asked++;
	if (got != wanted) {
		fprintf(stderr, "line %d: %s: %ld instead of %ld\n", line, what, got, wanted);
		exit(1);
	}
}

#define IS(got, wanted) is((long)(got), (long)(wanted), __LINE__, #got)

static struct aio2_context *make(__u32 ring_bytes, __u32 max_requests)
{
	struct aio2_setup setup = { .version = AIO2_VERSION, .ring_bytes = ring_bytes,
				    .max_requests = max_requests };
	struct aio2_context *ctx = NULL;

	IS(aio2_context_new(&setup, AIO2_PREFER_ENGINE, &ctx), 0);
	IS(setup.ring_bytes >= ring_bytes, 1);
	IS(setup.features & AIO2_FEAT_IN_PROCESS, AIO2_FEAT_IN_PROCESS);
	return ctx;
}

static void setup_errors(void)
{
	struct aio2_setup setup = { .version = AIO2_VERSION };
	struct aio2_context *ctx = NULL;

	IS(aio2_context_new(NULL, 0, &ctx), -EFAULT);
	IS(aio2_context_new(&setup, 0, NULL), -EFAULT);
	IS(aio2_context_new(&setup, 3, &ctx), -EINVAL);
	setup.version = 0;
	IS(aio2_context_new(&setup, 0, &ctx), -EINVAL);
	setup.version = AIO2_VERSION;
	setup.flags = 1U << 20;
	IS(aio2_context_new(&setup, 0, &ctx), -EINVAL);
	setup.flags = AIO2_SETUP_EVENTFD;
	setup.eventfd = 12345;
	IS(aio2_context_new(&setup, 0, &ctx), -EBADF);
	setup.eventfd = -1;
	IS(aio2_context_new(&setup, 0, &ctx), -EBADF);
	setup.eventfd = 0;
	setup.flags = 0;
	setup.max_requests = AIO2_MAX_REQUESTS + 1;
	IS(aio2_context_new(&setup, 0, &ctx), -EINVAL);
	IS(ctx == NULL, 1);
	IS(aio2_probe(NULL, 0), -EFAULT);
	setup.max_requests = 0;
	IS(aio2_probe(&setup, AIO2_PREFER_ENGINE), 0);
	IS(setup.max_requests > 0 && setup.iocb_max == AIO2_IOCB_MAX, 1);
	/* the result of a probe can be used to create */
	IS(setup.flags, 0);
	IS(aio2_context_new(&setup, AIO2_PREFER_ENGINE, &ctx), 0);
	IS(aio2_context_free(ctx), 0);
	ctx = NULL;
	setup.flags = AIO2_SETUP_PROBE;
	IS(aio2_context_new(&setup, AIO2_PREFER_ENGINE, &ctx), -EINVAL);
	IS(ctx == NULL, 1);
	IS(aio2_context_free(NULL), 0);
	IS(aio2_version()[0] >= '0' && aio2_version()[0] <= '9', 1);
}

static void misuse(void)
{
	struct aio2_context *ctx = make(0, 0);
	struct aio2_getevents get = { 0 };
	struct aio2_cancel cancel = { .flags = AIO2_CANCEL_ALL };
	struct aio2_ring ring;
	__u64 iocb[4] = { 0 }, event[16];
	struct aio2_iocbs s;

	IS(aio2_submit(NULL, iocb, sizeof(iocb)), -EBADF);
	IS(aio2_submit(ctx, NULL, 32), -EFAULT);
	IS(aio2_submit(ctx, NULL, 0), 0);
	IS(aio2_submit(ctx, iocb, sizeof(iocb)), -EINVAL);
	IS(aio2_submit(ctx, (char *)iocb + 4, 28), -EINVAL);
	IS(aio2_getevents(NULL, &get), -EBADF);
	IS(aio2_getevents(ctx, NULL), -EFAULT);
	get.flags = 1U << 9;
	IS(aio2_getevents(ctx, &get), -EINVAL);
	get = (struct aio2_getevents){ .timeout = 1 };
	IS(aio2_getevents(ctx, &get), -EINVAL);
	get = (struct aio2_getevents){ .resv = 1 };
	IS(aio2_getevents(ctx, &get), -EINVAL);
	get = (struct aio2_getevents){ .flags = AIO2_GET_ID, .id = 77 };
	IS(aio2_getevents(ctx, &get), -ENOENT);
	get = (struct aio2_getevents){ .flags = AIO2_GET_TIMEOUT, .min_events = 1, .timeout = 1000 };
	IS(aio2_getevents(ctx, &get), -ETIME);
	/* what has no address is not given, whatever its size; SPEC 4.3 */
	get = (struct aio2_getevents){ .sigmask_bytes = 3, .event_bytes = 8, .iocb_bytes = 9,
				       .submitted = 7, .nr_events = 7 };
	IS(aio2_getevents(ctx, &get), 0);
	IS(get.submitted, 0);
	IS(get.nr_events, 0);
	/* an error writes the one and not the other */
	get = (struct aio2_getevents){ .flags = AIO2_GET_TIMEOUT, .min_events = 1,
				       .submitted = 7, .nr_events = 7 };
	IS(aio2_getevents(ctx, &get), -ETIME);
	IS(get.submitted, 0);
	IS(get.nr_events, 7);
	/* a mask of a wrong size is found after the submission: SPEC 4.3 */
	IS(aio2_iocbs_init(&s, iocb, sizeof(iocb)), 0);
	IS(aio2_add_nop(&s, 1), 0);
	get = (struct aio2_getevents){ .sigmask = (__u64)(size_t)event, .sigmask_bytes = 7,
				       .iocbs = (__u64)(size_t)iocb, .iocb_bytes = s.bytes,
				       .submitted = 7 };
	IS(aio2_getevents(ctx, &get), -EINVAL);
	IS(get.submitted, s.bytes);
	get = (struct aio2_getevents){ .min_events = 1, .events = (__u64)(size_t)event,
				       .event_bytes = sizeof(event) };
	IS(aio2_getevents(ctx, &get), 24);
	memset(iocb, 0, sizeof(iocb));
	get = (struct aio2_getevents){ .sigmask = (__u64)(size_t)event, .sigmask_bytes = 7,
				       .iocbs = (__u64)(size_t)iocb, .iocb_bytes = 8, .submitted = 7 };
	IS(aio2_getevents(ctx, &get), -EINVAL);
	IS(get.submitted, 0);
	IS(aio2_cancel(NULL, &cancel), -EBADF);
	IS(aio2_cancel(ctx, NULL), -EFAULT);
	IS(aio2_cancel(ctx, &cancel), -ENOENT);
	cancel.flags = 0;
	IS(aio2_cancel(ctx, &cancel), -EINVAL);
	IS(aio2_exec(ctx, NULL, 32, event, sizeof(event)), -EFAULT);
	IS(aio2_exec(ctx, iocb, sizeof(iocb), event, sizeof(event)), -EINVAL);
	IS(aio2_grow(ctx, 4096), -EINVAL);
	IS(aio2_grow(NULL, 4096), -EBADF);
	IS(aio2_ring(ctx, NULL), -EFAULT);
	IS(aio2_ring(ctx, &ring), 0);
	IS(aio2_ring_next(ctx, &ring), -EAGAIN);
	ring.head = NULL;
	IS(aio2_ring_next(ctx, &ring), -EINVAL);
	IS(aio2_context_implementation(ctx), AIO2_PREFER_ENGINE);
	IS(aio2_context_implementation(NULL), -EBADF);
	IS(aio2_context_fd(NULL), -EBADF);
	IS(aio2_context_free(ctx), 0);
}

static void builders(void)
{
	__u64 memory[140];
	struct aio2_iocbs s;
	int i;

	IS(aio2_iocbs_init(&s, (char *)memory + 4, 64), -EINVAL);
	IS(aio2_iocbs_init(&s, memory, 64), 0);
	IS(aio2_ask(&s, AIO2_ATTR_TIMING), -EINVAL);
	IS(aio2_set_flags(&s, AIO2_IOCB_ASYNC), -EINVAL);
	IS(aio2_add(&s, 0, NULL, 7, 0), -E2BIG);
	IS(aio2_add_pread(&s, 1, NULL, 2, 3, 4), 0);
	IS(s.bytes, 64);
	IS(aio2_last(&s)->user_data, 4);
	IS(aio2_ask(&s, AIO2_ATTR_TIMING), -ENOBUFS);
	IS(aio2_add_nop(&s, 1), -ENOBUFS);
	IS(s.bytes, 64);
	IS(aio2_iocbs_init(&s, memory, sizeof(memory)), 0);
	IS(aio2_add_nop(&s, 1), 0);
	for (i = 0; i < 124; i++)
		IS(aio2_ask(&s, 1 + i % 63), 0);
	IS(aio2_ask(&s, 1), -E2BIG);
	IS(s.bytes, AIO2_IOCB_MAX);
}

static void attributes_come_back(void)
{
	struct aio2_context *ctx = make(0, 0);
	__u64 memory[64], events[64];
	const struct aio2_event *event;
	const void *payload = NULL;
	char buffer[4096];
	struct aio2_getevents get = { .min_events = 1, .events = (__u64)(uintptr_t)events,
				      .event_bytes = sizeof(events) };
	struct aio2_iocbs s;
	size_t pos = 0;
	long got;

	IS(aio2_iocbs_init(&s, memory, sizeof(memory)), 0);
	IS(aio2_add_openat(&s, -100, "/proc/self/exe", 0, 0, 5), 0);
	get.iocbs = (__u64)(uintptr_t)memory;
	get.iocb_bytes = s.bytes;
	got = aio2_getevents(ctx, &get);
	IS(got, 24);
	IS(get.submitted, s.bytes);
	IS(get.nr_events, 1);
	event = aio2_event_next(events, got, &pos);
	IS(event->user_data, 5);
	IS(aio2_iocbs_init(&s, memory, sizeof(memory)), 0);
	IS(aio2_add_pread(&s, event->res, buffer, sizeof(buffer), 0, 6), 0);
	IS(aio2_ask(&s, AIO2_ATTR_TIMING), 0);
	IS(aio2_ask(&s, 40), 0);
	IS(aio2_ask(&s, AIO2_ATTR_CHECKSUM), 0);
	got = aio2_exec(ctx, memory, s.bytes, events, sizeof(events));
	IS(got > 24, 1);
	pos = 0;
	event = aio2_event_next(events, got, &pos);
	IS(pos, got);
	IS(event->res, 4096);
	IS(memcmp(buffer, "\177ELF", 4), 0);
	IS(aio2_event_return(event, AIO2_ATTR_TIMING, &payload), 24);
	IS(((const struct aio2_timing_return *)payload)->completed >=
	   ((const struct aio2_timing_return *)payload)->submitted, 1);
	IS(aio2_event_return(event, 40, &payload), -EOPNOTSUPP);
	IS(aio2_event_return(event, AIO2_ATTR_PATH, &payload), -ENOENT);
	IS(aio2_event_return(event, AIO2_ATTR_CHECKSUM, &payload), 16);
	IS(aio2_event_next(events, got, &pos) == NULL, 1);
	pos = 8;
	IS(aio2_event_next(events, 24, &pos) == NULL, 1);
	IS(aio2_context_free(ctx), 0);
}

/* What is in the payload is read by the library's tests. */
static void what_is_to_be_recorded_is(void)
{
	struct aio2_setup setup = { .version = AIO2_VERSION };
	char path[] = "/tmp/aio2-record-XXXXXX";
	int fd = mkstemp(path), n;
	struct aio2_context *ctx;
	struct aio2_iocbs s;
	__u64 memory[4];
	__u32 block[8];

	IS(aio2_context_new_recorded(&setup, 0, NULL, &ctx), -EFAULT);
	IS(aio2_context_new_recorded(&setup, 0, "/nowhere/at/all", &ctx), -ENOENT);
	IS(aio2_context_new_recorded(&setup, AIO2_PREFER_KERNEL, path, &ctx), -EOPNOTSUPP);
	IS(aio2_context_new_recorded(&setup, AIO2_PREFER_AUTO, path, &ctx), 0);
	IS(aio2_context_implementation(ctx), AIO2_PREFER_ENGINE);
	IS(aio2_iocbs_init(&s, memory, sizeof(memory)), 0);
	IS(aio2_add_nop(&s, 1), 0);
	IS(aio2_submit(ctx, memory, s.bytes), s.bytes);
	/* One block with a request: a header of eight words, and its payload. */
	for (n = 0; n < 6000 && lseek(fd, 0, SEEK_END) <= (off_t)sizeof(block); n++)
		usleep(10000);
	IS(pread(fd, block, sizeof(block), 0), (long)sizeof(block));
	IS(memcmp(block, "AI2C", 4), 0);
	IS(block[2], 1);
	IS(lseek(fd, 0, SEEK_END), (long)(sizeof(block) + block[3]));
	IS(aio2_context_free(ctx), 0);
	IS(close(fd), 0);
	IS(unlink(path), 0);
}

static void the_eventfd_is_signalled(void)
{
	int fd = eventfd(0, EFD_NONBLOCK);
	struct aio2_setup setup = { .version = AIO2_VERSION, .flags = AIO2_SETUP_EVENTFD, .eventfd = fd };
	struct aio2_context *ctx;
	struct aio2_iocbs s;
	__u64 memory[4], count = 0;

	IS(aio2_context_new(&setup, AIO2_PREFER_ENGINE, &ctx), 0);
	IS(setup.eventfd, fd);
	IS(aio2_iocbs_init(&s, memory, sizeof(memory)), 0);
	IS(aio2_add_nop(&s, 1), 0);
	IS(aio2_submit(ctx, memory, s.bytes), s.bytes);
	IS(read(fd, &count, 8), 8);
	IS(count, 1);
	IS(aio2_context_fd(ctx) >= 0, 1);
	IS(aio2_context_free(ctx), 0);
	/* nobody sleeps on for events of a context that is gone: R-LIFE-1 */
	IS(read(fd, &count, 8), 8);
	IS(close(fd), 0);
}

/* What a ring tells of itself, that of another process too: SPEC 5.3. */
static void pending_says_which_flag_counts(void)
{
	__u64 head = 0, data[2] = { 0 };
	__u32 notify = 0, tail = 0, flags = 0;
	struct aio2_ring ring = { &head, &notify, &tail, &flags, data, 8, 8 };

	IS(aio2_ring_pending(&ring), AIO2_PENDING_NOTHING);
	flags = AIO2_RING_OVERFLOW;
	IS(aio2_ring_pending(&ring), AIO2_PENDING_OVERFLOW);
	flags |= AIO2_RING_DEAD;
	IS(aio2_ring_pending(&ring), AIO2_PENDING_DEAD);
	flags |= AIO2_RING_FROZEN;
	IS(aio2_ring_pending(&ring), AIO2_PENDING_FROZEN);
	tail = 8;
	IS(aio2_ring_pending(&ring), AIO2_PENDING_EVENTS);
}

#define EACH	20000
#define REAPERS	3

struct crowd {
	struct aio2_context *ctx;
	unsigned char *seen;
	unsigned long count;
};

static void *reaper(void *arg)
{
	struct crowd *crowd = arg;
	struct aio2_ring ring;
	__u64 events[256];

	IS(aio2_ring(crowd->ctx, &ring), 0);
	while (__atomic_load_n(&crowd->count, __ATOMIC_RELAXED) < EACH) {
		struct aio2_getevents get = { .flags = AIO2_GET_TIMEOUT, .min_events = 1,
					      .timeout = 1000000 };
		const struct aio2_event *event;
		size_t pos = 0;
		long got = aio2_reap(&ring, events, sizeof(events), 7);

		if (got < 0)
			exit(3);
		while (got && (event = aio2_event_next(events, got, &pos))) {
			if (__atomic_fetch_add(&crowd->seen[event->user_data], 1, __ATOMIC_RELAXED))
				exit(4);
			__atomic_fetch_add(&crowd->count, 1, __ATOMIC_RELAXED);
		}
		if (got)
			continue;
		if (aio2_ring_pending(&ring) == AIO2_PENDING_FROZEN) {
			got = aio2_ring_next(crowd->ctx, &ring);
			if (got && got != -EAGAIN)
				exit(5);
		}
		got = aio2_getevents(crowd->ctx, &get);
		if (got && got != -ETIME)
			exit(6);
	}
	return NULL;
}

static void every_event_goes_to_one_reaper(void)
{
	struct crowd crowd = { make(4096, 1024), calloc(EACH, 1), 0 };
	pthread_t threads[REAPERS];
	__u64 memory[4 * 16], sent = 0;
	int i;

	for (i = 0; i < REAPERS; i++)
		IS(pthread_create(&threads[i], NULL, reaper, &crowd), 0);
	while (sent < EACH) {
		struct aio2_iocbs s;
		long got;

		IS(aio2_iocbs_init(&s, memory, sizeof(memory)), 0);
		for (i = 0; i < 16 && sent + i < EACH; i++)
			IS(aio2_add_nop(&s, sent + i), 0);
		got = aio2_submit(crowd.ctx, memory, s.bytes);
		if (got == -EAGAIN)
			continue;
		IS(got > 0 && got % 32 == 0, 1);
		sent += got / 32;
		if (sent == EACH / 2)
			IS(aio2_grow(crowd.ctx, 16384), 16384);
	}
	for (i = 0; i < REAPERS; i++)
		IS(pthread_join(threads[i], NULL), 0);
	for (i = 0; i < EACH; i++)
		IS(crowd.seen[i], 1);
	free(crowd.seen);
	IS(aio2_context_free(crowd.ctx), 0);
}

static void a_child_is_refused(void)
{
	struct aio2_context *ctx = make(0, 0);
	struct aio2_getevents bad = { .flags = 1U << 9 };
	struct aio2_getevents mask = { .sigmask = (__u64)(size_t)&bad, .sigmask_bytes = 7,
				       .submitted = 7 };
	struct aio2_cancel none = { 0 };
	__u64 memory[4];
	struct aio2_iocbs s;
	int status;
	pid_t child;

	IS(aio2_iocbs_init(&s, memory, sizeof(memory)), 0);
	IS(aio2_add_nop(&s, 1), 0);
	fflush(NULL);
	child = fork();
	if (!child)
		/* before all else that is wrong: SPEC 4.2 to 4.4 */
		_exit(aio2_submit(ctx, memory, s.bytes) == -EXDEV &&
		      aio2_submit(ctx, NULL, 0) == -EXDEV &&
		      aio2_getevents(ctx, &bad) == -EXDEV &&
		      aio2_getevents(ctx, &mask) == -EXDEV && mask.submitted == 7 &&
		      aio2_cancel(ctx, &none) == -EXDEV &&
		      aio2_context_free(ctx) == 0 ? 0 : 1);
	IS(waitpid(child, &status, 0), child);
	IS(status, 0);
	IS(aio2_context_free(ctx), 0);
}

int main(void)
{
	setup_errors();
	misuse();
	builders();
	attributes_come_back();
	the_eventfd_is_signalled();
	pending_says_which_flag_counts();
	what_is_to_be_recorded_is();
	every_event_goes_to_one_reaper();
	a_child_is_refused();
	printf("%d answers as promised\n", asked);
	return 0;
}
