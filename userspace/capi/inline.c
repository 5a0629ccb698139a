/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The inline functions of the headers as symbols, for languages without C. */
#define AIO2_INLINE __attribute__((visibility("default")))
#include <aio2/aio2.h>
