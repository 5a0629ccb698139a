/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * AIO2 for C: contexts, requests, events.
 *
 * Every function returns a negative errno where it fails. The structures are
 * those of <linux/aio2.h>, and SPEC.md says what they mean.
 *
 * `cargo xtask install --prefix P` puts these headers, <linux/aio2.h>, libaio2.so.1,
 * libaio2.a and aio2.pc into P; a program is then built with what
 * `pkg-config --cflags --libs aio2` says, and `--static` for the archive. In a
 * checkout they are found with -Iabi/include -Iuserspace/include.
 */
#ifndef AIO2_H
#define AIO2_H

#include <aio2/context.h>
#include <aio2/iocb.h>
#include <aio2/event.h>
#include <aio2/ring.h>

#endif
