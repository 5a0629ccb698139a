// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The structures that src/core.rs declares once more have this form. What is inline in
 * the kernel is a function here.
 */
#include <stddef.h>

#include "parse.h"
#include "ring.h"

#define AT(type, field, offset)						\
	_Static_assert(offsetof(struct type, field) == (offset),	\
		       #type "." #field ": src/core.rs has it elsewhere")
#define SIZE(type, bytes)						\
	_Static_assert(sizeof(struct type) == (bytes),			\
		       #type ": src/core.rs has another size")

AT(aio2_ring, cons, 0);
AT(aio2_ring, prod, 8);
AT(aio2_ring, data, 16);
AT(aio2_ring, size, 24);
AT(aio2_ring, tail, 28);
AT(aio2_ring, flags, 32);
AT(aio2_ring, overflowed, 40);
AT(aio2_ring, bad_heads, 48);
SIZE(aio2_ring, 56);

AT(aio2_request, len, 0);
AT(aio2_request, nr, 4);
AT(aio2_request, nr_args, 8);
AT(aio2_request, flags, 10);
AT(aio2_request, user_data, 16);
AT(aio2_request, args, 24);
AT(aio2_request, attrs, 72);
AT(aio2_request, attr_bytes, 80);
AT(aio2_request, nr_attrs, 84);
AT(aio2_request, attr_mask, 88);
AT(aio2_request, return_mask, 96);
AT(aio2_request, required_mask, 104);
SIZE(aio2_request, 112);

bool aio2_ccore_usual(const struct aio2_iocb *iocb, u32 left, u64 *asks)
{
	return aio2_iocb_is_usual(iocb, left, asks);
}
