/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The types that <linux/aio2.h> needs, of the same sizes as the kernel's. */
#ifndef _LINUX_TYPES_H
#define _LINUX_TYPES_H

#include <stdint.h>

typedef uint8_t __u8;
typedef uint16_t __u16;
typedef uint32_t __u32;
typedef int32_t __s32;
typedef uint64_t __u64;
typedef int64_t __s64;

#endif
