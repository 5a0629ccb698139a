/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the proofs take the loads and stores of ring.c for: memory that others
 * write may hold anything at any load, whatever was stored there.
 */
#ifndef LOADS_H
#define LOADS_H

#include <stdint.h>

#define __atomic_load_n(p, order)	(*(volatile __typeof__(*(p)) *)(p))
#define __atomic_store_n(p, v, order)	(*(p) = (v))

/*@ requires valid: \valid(p);
    requires valid_old: \valid(old);
    assigns \result, *p, *old \from *p, *old, value;
    ensures \result == 0 || \result == 1; */
_Bool any_swap(uint64_t *p, uint64_t *old, uint64_t value);

#define __atomic_compare_exchange_n(p, old, value, weak, yes, no) \
	any_swap(p, old, value)

#endif
