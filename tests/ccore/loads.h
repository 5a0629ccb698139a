/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Tells src/core.rs of each load from memory that others write, when it has
 * been made.
 */
void aio2_loaded(volatile void *at, int bytes, int order);

#define __atomic_load_n(p, order) ({					\
	__typeof__(*(p)) loaded = __atomic_load_n(p, order);		\
	aio2_loaded((volatile void *)(p), sizeof(*(p)), order);		\
	loaded;								\
})
