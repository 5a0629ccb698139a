/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What libaio.so.1 exports, in its versions: names and conventions. What they do
 * is in Rust (exports.rs).
 */
#include <errno.h>
#include <stddef.h>
#include <time.h>

struct iocb;
struct aio_ring;

struct io_event {
	void *data;
	struct iocb *obj;
	unsigned long res;
	unsigned long res2;
};

typedef void (*callback)(struct aio_ring *ctx, struct iocb *iocb, long res, long res2);

int aio2_libaio_setup(int max, struct aio_ring **ctx);
int aio2_libaio_destroy(struct aio_ring *ctx);
long aio2_libaio_submit(struct aio_ring *ctx, long nr, struct iocb **iocbs);
int aio2_libaio_cancel(struct aio_ring *ctx, struct iocb *iocb);
long aio2_libaio_getevents(struct aio_ring *ctx, long min, long nr, struct io_event *events,
			   const struct timespec *timeout, const void *sigmask);

#define DEFAULT(name, version) \
	__asm__(".symver " #name "_" #version "," #name "@@LIBAIO_0." #version)
#define OLD(name, version) \
	__asm__(".symver " #name "_" #version "," #name "@LIBAIO_0." #version)

int io_setup(int max, struct aio_ring **ctx)
{
	return aio2_libaio_setup(max, ctx);
}

int io_destroy(struct aio_ring *ctx)
{
	return aio2_libaio_destroy(ctx);
}

int io_submit(struct aio_ring *ctx, long nr, struct iocb **iocbs)
{
	return aio2_libaio_submit(ctx, nr, iocbs);
}

DEFAULT(io_cancel, 4);
int io_cancel_4(struct aio_ring *ctx, struct iocb *iocb, struct io_event *event)
{
	(void)event;
	return aio2_libaio_cancel(ctx, iocb);
}

OLD(io_cancel, 1);
int io_cancel_1(struct aio_ring *ctx, struct iocb *iocb)
{
	return aio2_libaio_cancel(ctx, iocb);
}

DEFAULT(io_getevents, 4);
int io_getevents_4(struct aio_ring *ctx, long min, long nr, struct io_event *events,
		   struct timespec *timeout)
{
	return aio2_libaio_getevents(ctx, min, nr, events, timeout, NULL);
}

OLD(io_getevents, 1);
int io_getevents_1(struct aio_ring *ctx, long nr, struct io_event *events,
		   const struct timespec *timeout)
{
	return aio2_libaio_getevents(ctx, 1, nr, events, timeout, NULL);
}

int io_pgetevents(struct aio_ring *ctx, long min, long nr, struct io_event *events,
		  struct timespec *timeout, const void *sigmask)
{
	return aio2_libaio_getevents(ctx, min, nr, events, timeout, sigmask);
}

int io_queue_init(int max, struct aio_ring **ctx)
{
	if (max <= 0)
		return -EINVAL;
	*ctx = NULL;
	return aio2_libaio_setup(max, ctx);
}

int io_queue_release(struct aio_ring *ctx)
{
	return aio2_libaio_destroy(ctx);
}

/* Zero events are asked for, so that it never waits: neither does the original. */
DEFAULT(io_queue_wait, 4);
int io_queue_wait_4(struct aio_ring *ctx, struct timespec *timeout)
{
	return aio2_libaio_getevents(ctx, 0, 0, NULL, timeout, NULL);
}

OLD(io_queue_wait, 1);
int io_queue_wait_1(struct aio_ring *ctx, const struct timespec *timeout)
{
	return aio2_libaio_getevents(ctx, 0, 0, NULL, timeout, NULL);
}

/* Calls back for each event that is there; each iocb's data is its callback. */
int io_queue_run(struct aio_ring *ctx)
{
	static const struct timespec now;
	struct io_event event;
	int got;

	while ((got = aio2_libaio_getevents(ctx, 0, 1, &event, &now, NULL)) == 1)
		((callback)event.data)(ctx, event.obj, event.res, event.res2);
	return got;
}
