// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * What ring.c has to do, for Frama-C, whatever the consumer page, the producer
 * page and the data hold at any load: see loads.h. Eva goes through every
 * function on a ring of each size; WP proves what the contracts say. SPEC:
 * sections 5.4 and 5.5.
 */
#include <stdlib.h>

#include <__fc_builtin.h>

#include "aio2/ring.h"

/*@ predicate is_ring{L}(struct aio2_ring *r) =
      4096 <= r->size <= 0x40000000; */

/*@ requires \valid_read(ring) && \valid(used) && \separated(ring, used);
    assigns *used;
    ensures *used == (u32)(tail - (u32)head);
    ensures R_RING_6: \result != 0 <==> *used <= ring->size && (*used & 7) == 0; */
static bool ring_used(const struct aio2_ring *ring, u64 head, u32 tail, u32 *used);

/*@ requires \valid_read(ring);
    assigns \nothing;
    ensures R_RING_14: \result == 0 ||
	24 <= \result <= 1024 && (\result & 7) == 0 && \result <= left; */
static u32 event_len(const struct aio2_ring *ring, u32 pos, u32 left);

/*@ requires \valid(ring) && \valid(ring->prod) && \separated(ring, ring->prod);
    assigns ring->flags, ring->prod->flags;
    ensures shown: ring->flags != \old(ring->flags) ==> ring->prod->flags == ring->flags; */
void aio2_ring_flag(struct aio2_ring *ring, u32 flag, bool on);

/*@ requires \valid(ring) && \valid(ring->prod) && is_ring(ring);
    requires \separated(ring, ring->prod, ring->cons, ((u64 *)ring->data) + (0 .. 0x7fffffff));
    requires 24 <= len <= 1024 && (len & 7) == 0;
    ensures R_RING_8: ring->tail == \old(ring->tail) || ring->tail == (u32)(\old(ring->tail) + len);
    ensures refused: \result == 0 ==> ring->tail == \old(ring->tail);
    ensures accepted: \result != 0 ==> ring->tail == (u32)(\old(ring->tail) + len);
    ensures R_RING_4: \result != 0 ==> ring->prod->tail == ring->tail; */
bool aio2_ring_push(struct aio2_ring *ring, const void *event, u32 len);

/*@ requires \valid_read(ring) && is_ring(ring);
    ensures -EIO == \result || 0 <= \result <= max; */
int aio2_ring_count(const struct aio2_ring *ring, u64 head, u32 tail, u32 max);

/*@ requires \valid_read(ring) && is_ring(ring);
    requires \valid(head) && \valid(nr) && \valid(first);
    requires \separated(head, nr, first, ring);
    ensures bounded: \result == -EIO || 0 <= \result <= room;
    ensures at_most: *nr <= \old(*nr) && 24 * *nr <= 0x40000000; */
int aio2_ring_peek(const struct aio2_ring *ring, u64 *head, u32 room, u32 *nr, u32 *first);

#include "aio2/ring.c"

/* A ring of this size, of which its owner's own fields are as they can be. */
static void one(u32 size)
{
	struct aio2_ring_consumer cons;
	struct aio2_ring_producer prod;
	u64 event[AIO2_EVENT_MAX / 8];
	struct aio2_ring ring;
	u8 *data = malloc(2UL * size);
	u32 nr, first, len, room;
	u64 head;

	Frama_C_make_unknown((char *)&cons, sizeof(cons));
	Frama_C_make_unknown((char *)&prod, sizeof(prod));
	Frama_C_make_unknown((char *)data, 2UL * size);
	aio2_ring_init(&ring, &cons, &prod, data, size);
	ring.tail = Frama_C_unsigned_int_interval(0, UINT32_MAX) & ~7U;
	ring.flags = Frama_C_unsigned_int_interval(0, UINT32_MAX);
	ring.overflowed = Frama_C_unsigned_long_interval(0, UINT64_MAX);
	ring.bad_heads = Frama_C_unsigned_long_interval(0, UINT64_MAX);
	Frama_C_make_unknown((char *)event, sizeof(event));

	len = 8 * Frama_C_unsigned_int_interval(3, AIO2_EVENT_MAX / 8);
	aio2_ring_push(&ring, event, len);
	aio2_ring_flag(&ring, Frama_C_unsigned_int_interval(0, UINT32_MAX),
		       Frama_C_interval(0, 1));
	aio2_ring_count_overflow(&ring);
	aio2_ring_empty(&ring);
	aio2_ring_bad_head(&ring);
	aio2_ring_events(&ring, Frama_C_unsigned_int_interval(0, UINT32_MAX));
	aio2_ring_count(&ring, Frama_C_unsigned_long_interval(0, UINT64_MAX),
			Frama_C_unsigned_int_interval(0, UINT32_MAX),
			Frama_C_unsigned_int_interval(0, UINT32_MAX));
	nr = Frama_C_unsigned_int_interval(0, UINT32_MAX);
	room = Frama_C_unsigned_int_interval(0, UINT32_MAX);
	int bytes = aio2_ring_peek(&ring, &head, room, &nr, &first);
	aio2_ring_claim(&ring, head, Frama_C_unsigned_int_interval(0, UINT32_MAX));
}

void any_ring(void)
{
	one(1U << 12);
	one(1U << 13);
	one(1U << 14);
	one(1U << 15);
	one(1U << 16);
	one(1U << 17);
	one(1U << 18);
	one(1U << 19);
	one(1U << 20);
	one(1U << 21);
	one(1U << 22);
	one(1U << 23);
	one(1U << 24);
	one(1U << 25);
	one(1U << 26);
	one(1U << 27);
	one(1U << 28);
	one(1U << 29);
	one(1U << 30);
}
