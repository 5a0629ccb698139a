/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the other headers need: the ABI, and how an inline function is made. */
#ifndef AIO2_ABI_H
#define AIO2_ABI_H

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <linux/aio2.h>

/*
 * Inline in each C file; inline.c of the library defines them as symbols too,
 * for bindings of other languages.
 */
#ifndef AIO2_INLINE
#define AIO2_INLINE static inline __attribute__((unused))
#endif

#ifdef __cplusplus
#define AIO2_BEGIN_DECLS extern "C" {
#define AIO2_END_DECLS }
#else
#define AIO2_BEGIN_DECLS
#define AIO2_END_DECLS
#endif

#endif
