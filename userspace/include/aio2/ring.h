/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Reaping the mapped ring without a call, by any number of threads: SPEC 5.5.
 *
 * Words are copied by relaxed atomic loads, since the producer may be writing
 * what a consumer that lost the race still reads; the compare-and-swap of head
 * then fails, and the copy is thrown away.
 */
#ifndef AIO2_RING_H
#define AIO2_RING_H

#include <aio2/context.h>

AIO2_BEGIN_DECLS

/* What aio2_ring_pending() says. */
#define AIO2_PENDING_NOTHING	0
#define AIO2_PENDING_EVENTS	1
#define AIO2_PENDING_OVERFLOW	2	/* call aio2_getevents() */
#define AIO2_PENDING_FROZEN	3	/* call aio2_ring_next() */
#define AIO2_PENDING_DEAD	4	/* nothing will come any more */

/*
 * Copies the events from head on, at most `max` and as many as fit; their bytes.
 * -ENOBUFS if the first does not fit, -EIO if there is something else.
 */
AIO2_INLINE long aio2_ring_copy(const struct aio2_ring *ring, __u64 head,
				__u64 *to, size_t bytes, unsigned long max)
{
	/* Acquire: pairs with the producer's release (R-RING-4, R-RING-9). */
	__u32 used = __atomic_load_n(ring->tail, __ATOMIC_ACQUIRE) - (__u32)head;
	const __u64 *data;
	size_t done = 0;

	if (used > ring->ring_bytes || head % 8)
		return -EIO;
	data = ring->data + ((__u32)head & (ring->ring_bytes - 1)) / 8;
	while (used && max--) {
		__u64 first = __atomic_load_n(data + done / 8, __ATOMIC_RELAXED);
		size_t i;
		__u32 len;

		memcpy(&len, &first, sizeof(len));
		if (len < 8 || len % 8 || len > used || len > ring->event_max)
			return done ? (long)done : -EIO;
		if (len > bytes - done)
			return done ? (long)done : -ENOBUFS;
		to[done / 8] = first;
		for (i = 1; i < len / 8; i++)
			to[done / 8 + i] = __atomic_load_n(data + done / 8 + i,
							   __ATOMIC_RELAXED);
		done += len;
		used -= len;
	}
	return done;
}

/*
 * Takes events out of the ring, the oldest first, at most `max`, into `events`,
 * which is aligned to 8; their bytes, 0 if the ring is empty. -ENOBUFS if the
 * first does not fit; -EIO if what stands there can be no event, or no head: a
 * peer broke the ring. Nothing is remembered: each call looks again, and whoever
 * was told so once has to note it (R-HOST-3).
 */
AIO2_INLINE long aio2_reap(const struct aio2_ring *ring, void *events,
			   size_t bytes, unsigned long max)
{
	/* Acquire: as in aio2_ring_copy(), of another consumer's release. */
	__u64 head = __atomic_load_n(ring->head, __ATOMIC_ACQUIRE);

	for (;;) {
		long got = aio2_ring_copy(ring, head, (__u64 *)events, bytes, max);
		__u64 next = head + (got > 0 ? (__u64)got : 0);

		if (!got && __atomic_load_n(ring->head, __ATOMIC_ACQUIRE) == head)
			return 0;
		/*
		 * Release: the events are read before the producer may write
		 * over them (R-RING-10). What was believed before is worth
		 * nothing unless this succeeds (R-RING-12, R-RING-13).
		 */
		if (__atomic_compare_exchange_n(ring->head, &head, next, 0,
						__ATOMIC_RELEASE,
						__ATOMIC_ACQUIRE) && got)
			return got;
	}
}

/* What there is, for one that found the ring empty: AIO2_PENDING_*. */
AIO2_INLINE int aio2_ring_pending(const struct aio2_ring *ring)
{
	__u32 head, tail, flags;

	/* Pairs with the producer's fences (R-NOTIFY-3, R-OVF-5). */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	/* Flags before tail: what was moved is published before a flag goes. */
	flags = __atomic_load_n(ring->flags, __ATOMIC_ACQUIRE);
	head = (__u32)__atomic_load_n(ring->head, __ATOMIC_ACQUIRE);
	tail = __atomic_load_n(ring->tail, __ATOMIC_ACQUIRE);
	if (head != tail)
		return AIO2_PENDING_EVENTS;
	if (flags & AIO2_RING_FROZEN)
		return AIO2_PENDING_FROZEN;
	/* Of a dead context there is nobody to call. */
	if (flags & AIO2_RING_DEAD)
		return AIO2_PENDING_DEAD;
	return flags & AIO2_RING_OVERFLOW ? AIO2_PENDING_OVERFLOW
					  : AIO2_PENDING_NOTHING;
}

/*
 * Whether the eventfd is to be signalled. After switching it on, ask
 * aio2_ring_pending() once more before sleeping.
 */
AIO2_INLINE int aio2_ring_notify(const struct aio2_ring *ring, int on)
{
	__atomic_store_n(ring->notify, on ? AIO2_NOTIFY_ON : AIO2_NOTIFY_OFF,
			 __ATOMIC_RELAXED);
	return 0;
}

AIO2_END_DECLS

#endif
