/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * AIO2 for C: contexts, requests, events.
 *
 * Every function returns a negative errno where it fails. The structures are
 * those of <linux/aio2.h>, and SPEC.md says what they mean.
 */
#ifndef AIO2_H
#define AIO2_H

#include <aio2/context.h>
#include <aio2/iocb.h>
#include <aio2/event.h>
#include <aio2/ring.h>

#endif
