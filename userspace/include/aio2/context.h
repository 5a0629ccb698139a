/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A context, and the calls on it. The structures are those of <linux/aio2.h>,
 * which SPEC.md explains.
 *
 * Every function returns a negative errno where it fails, and leaves errno
 * alone. Beside what stands at each: EBADF for a null context, EFAULT for another
 * pointer that is null, EINVAL for a structure that is not aligned. In a child of
 * the process that made an engine's context each call on that returns EXDEV, but
 * aio2_context_free(), aio2_context_fd() and aio2_context_implementation(); on a
 * kernel's context only aio2_submit(), aio2_cancel() and an aio2_getevents() with
 * iocbs do. Each may be called by any number of threads at a time, but no thread
 * may be in a call on a context, or begin one, once aio2_context_free() of it
 * has been called.
 */
#ifndef AIO2_CONTEXT_H
#define AIO2_CONTEXT_H

#include <aio2/abi.h>

AIO2_BEGIN_DECLS

struct aio2_context;

/* Which implementation to use. */
#define AIO2_PREFER_AUTO	0	/* the kernel if it has AIO2, else the engine */
#define AIO2_PREFER_KERNEL	1
#define AIO2_PREFER_ENGINE	2

/**
 * struct aio2_ring - where a ring is mapped
 * @head: byte position of the oldest event; consumers write it
 * @notify: AIO2_NOTIFY_*; consumers write it
 * @tail: byte position behind the newest event
 * @flags: AIO2_RING_*
 * @data: the events, twice, back to back
 * @ring_bytes: size of the data, a power of two
 * @event_max: longest event, in bytes
 */
struct aio2_ring {
	__u64		*head;
	__u32		*notify;
	const __u32	*tail;
	const __u32	*flags;
	const __u64	*data;
	__u32		ring_bytes;
	__u32		event_max;
};

/* Version of the library, as text. */
const char *aio2_version(void);

/*
 * Makes a context as *setup wants it, which then says what it became; 0. Its
 * version must be set. EINVAL, also for the flags AIO2_SETUP_PROBE and
 * AIO2_SETUP_GROW, for which there are aio2_probe() and aio2_grow(); EBADF if the
 * eventfd is not open; EAGAIN, EMFILE, ENFILE, ENOMEM; ENOSYS or EPERM if the
 * kernel was asked for and has none, or refuses.
 */
int aio2_context_new(struct aio2_setup *setup, unsigned int prefer,
		     struct aio2_context **made);

/*
 * The same, and each request is recorded to the end of the file at path when it
 * has ended, for aio2-report(1); so it is where the environment variable
 * AIO2_RECORD names a file. A thread writes, at the latest after 50 ms; no call
 * waits for it. EFAULT for a null path, EOPNOTSUPP with AIO2_PREFER_KERNEL, and
 * those of open(2).
 */
int aio2_context_new_recorded(struct aio2_setup *setup, unsigned int prefer,
			      const char *path, struct aio2_context **made);

/*
 * Cancels all requests, waits until none runs any more, and frees the context
 * and its rings; 0. Null is allowed.
 */
int aio2_context_free(struct aio2_context *ctx);

/*
 * What aio2_context_new() would make; makes nothing; 0. The flags stay as they are,
 * so that the result can be given to aio2_context_new(). Its errors, but those for
 * want of something; the eventfd is not looked at.
 */
int aio2_probe(struct aio2_setup *setup, unsigned int prefer);

/* AIO2_PREFER_KERNEL or AIO2_PREFER_ENGINE: who implements it. EBADF for null. */
int aio2_context_implementation(const struct aio2_context *ctx);

/*
 * A descriptor that polls readable when events came, also before this was called.
 * It is the context's: not to be closed. The engine's is an eventfd that is to be
 * read, that of AIO2_SETUP_EVENTFD if there is one: aio2_ring_notify() with 0
 * silences it.
 */
int aio2_context_fd(const struct aio2_context *ctx);

/*
 * Submits a stream of iocbs; the bytes accepted. The iocbs are the caller's again
 * when it returns; it writes to their ids (AIO2_IOCB_WRITE_ID). What an iocb points
 * to must stay valid until its terminal event is there. EAGAIN, EINVAL, E2BIG;
 * EFAULT from a kernel's context.
 */
long aio2_submit(const struct aio2_context *ctx, void *iocbs, size_t bytes);

/*
 * Submits if asked, waits, and copies events out if given a buffer; the bytes
 * copied. EINVAL, ETIME, EINTR, ENOBUFS, ENOENT, EIO, and those of aio2_submit().
 */
long aio2_getevents(const struct aio2_context *ctx, struct aio2_getevents *args);

/* Cancels what matches; how many did. ENOENT, EINVAL, EAGAIN, ETIME, EINTR. */
int aio2_cancel(const struct aio2_context *ctx, struct aio2_cancel *request);

/*
 * Runs one iocb now, in this thread; the bytes of its event. EINVAL, E2BIG, ENOBUFS,
 * EAGAIN; EFAULT, EINTR and EPERM from a kernel's context.
 */
long aio2_exec(const struct aio2_context *ctx, void *iocb, size_t bytes,
	       void *event, size_t event_bytes);

/*
 * Goes on in a larger ring, of at least so many bytes, rounded up to a power of two;
 * 0 means 65536. Its size in bytes. EINVAL if that is not larger, or above 2^30;
 * ENOMEM, EMFILE, ENFILE; EOPNOTSUPP if the context lacks AIO2_FEAT_GROW.
 */
long aio2_grow(const struct aio2_context *ctx, __u32 ring_bytes);

/*
 * Says where the oldest ring is mapped that may hold events; 0. It stays mapped
 * until the context is freed. <aio2/ring.h> has what reaps from it.
 */
int aio2_ring(const struct aio2_context *ctx, struct aio2_ring *ring);

/*
 * Replaces *ring by the one that took its place; 0. For one that is empty and has
 * AIO2_RING_FROZEN among its flags, as aio2_ring_pending() of <aio2/ring.h> tells.
 * EAGAIN, and *ring as it was, if no ring has taken its place, or events are left
 * in it; EINVAL if it is no ring of the context.
 */
int aio2_ring_next(const struct aio2_context *ctx, struct aio2_ring *ring);

AIO2_END_DECLS

#endif
