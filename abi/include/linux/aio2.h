/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * AIO2: asynchronous system calls with attributes, completed into a ring.
 *
 * The normative text is SPEC.md; the section that describes a structure is
 * named beside it. Every structure is little more than its bytes: all fields
 * are naturally aligned, there is no padding, and a size is a multiple of 8.
 */
#ifndef _UAPI_LINUX_AIO2_H
#define _UAPI_LINUX_AIO2_H

#include <linux/types.h>

/* The version of the ABI that this header describes. */
#define AIO2_VERSION		1

/* Limits that belong to the version. */
#define AIO2_RING_BYTES_MIN	4096	/* and at least a page */
#define AIO2_RING_BYTES_MAX	(1U << 30)
#define AIO2_MAX_REQUESTS	(1U << 20)
#define AIO2_MAX_CONCURRENCY	1024
#define AIO2_MAX_ARGS		6
#define AIO2_IOCB_MAX		1024
#define AIO2_EVENT_MAX		1024
#define AIO2_ATTR_ID_MAX	63

/* ---- io_setup2: SPEC 4.1 ---- */

/* aio2_setup.flags: an unknown one is refused with EINVAL */
#define AIO2_SETUP_PROBE	(1U << 0)	/* report, create nothing */
#define AIO2_SETUP_EVENTFD	(1U << 1)	/* .eventfd is valid */
#define AIO2_SETUP_GROW		(1U << 2)	/* a larger ring for context .fd */

/* aio2_setup.hints: an unknown one is ignored and cleared */
#define AIO2_HINT_SINGLE_REAPER	(1U << 0)	/* one consumer only */

/* aio2_setup.features */
#define AIO2_FEAT_IN_PROCESS	(1ULL << 0)	/* the engine, not the kernel */
#define AIO2_FEAT_MMAP		(1ULL << 1)	/* the context fd can be mapped */
#define AIO2_FEAT_POLL		(1ULL << 2)	/* the context fd can be polled */
#define AIO2_FEAT_EXEC		(1ULL << 3)	/* io_exec2 */
#define AIO2_FEAT_WAIT_ID	(1ULL << 4)	/* wait for one request */
#define AIO2_FEAT_INTERRUPT	(1ULL << 5)	/* what runs can be interrupted */
#define AIO2_FEAT_MULTISHOT	(1ULL << 6)	/* AIO2_IOCB_MULTISHOT */
#define AIO2_FEAT_GROW		(1ULL << 7)	/* AIO2_SETUP_GROW */
#define AIO2_FEAT_SECCOMP	(1ULL << 8)	/* operations are filtered as syscalls */
#define AIO2_FEAT_FULL		(1ULL << 9)	/* AIO2_IOCB_FULL */
#define AIO2_FEAT_GATHER	(1ULL << 10)	/* aio2_getevents.gather */
#define AIO2_FEAT_NOT_STARTED	(1ULL << 11)	/* AIO2_EVENT_NOT_STARTED is set */

/**
 * struct aio2_setup - what a context shall be, and what it became
 * @version: in: newest version the caller knows; out: version in force
 * @flags: in: AIO2_SETUP_*
 * @hints: in: AIO2_HINT_*; out: those that were taken
 * @ring_bytes: in: at least so many bytes of events, 0 for the default;
 *	out: actual size, a power of two
 * @max_requests: in: requests without a published event, 0 for the default;
 *	out: actual limit
 * @concurrency: in: largest number of workers, 0 for the default; out: actual
 * @eventfd: in: the eventfd to signal, with AIO2_SETUP_EVENTFD; otherwise 0
 * @fd: in: the context to grow, with AIO2_SETUP_GROW; otherwise 0
 * @features: out: AIO2_FEAT_*
 * @attrs: out: bit n is set if attribute n is taken in a request
 * @returns: out: bit n is set if the return of attribute n has a payload
 * @ops: out: bit n is set if the operation AIO2_OP | n is there
 * @syscalls: out: bit n % 64 of word n / 64 is set if syscall n can be run
 * @iocb_max: out: longest iocb, in bytes
 * @event_max: out: longest event, in bytes
 * @map_offset: out: mmap offset of the ring, in bytes
 * @map_consumer: out: offset of the consumer page from @map_offset, in bytes
 * @map_producer: out: offset of the producer page from @map_offset, in bytes
 * @map_data: out: offset of the data from @map_offset, in bytes
 * @map_bytes: out: length of the whole mapping, in bytes; the data is in it
 *	twice, back to back
 */
struct aio2_setup {
	__u32	version;
	__u32	flags;
	__u32	hints;
	__u32	ring_bytes;
	__u32	max_requests;
	__u32	concurrency;
	__s32	eventfd;
	__s32	fd;
	__u64	features;
	__u64	attrs;
	__u64	returns;
	__u64	ops;
	__u64	syscalls[8];
	__u32	iocb_max;
	__u32	event_max;
	__u64	map_offset;
	__u32	map_consumer;
	__u32	map_producer;
	__u32	map_data;
	__u32	map_bytes;
};

/* ---- the ring: SPEC 5 ---- */

#define AIO2_RING_MAGIC		0x324f4941	/* "AIO2" */

/* aio2_ring_consumer.notify */
#define AIO2_NOTIFY_ON		0
#define AIO2_NOTIFY_OFF		1

/**
 * struct aio2_ring_consumer - the page that userspace writes
 * @head: free-running byte position of the oldest unreaped event; its low 32
 *	bits are the head that the producer computes with
 * @resv0: zero
 * @notify: AIO2_NOTIFY_*: whether the eventfd is to be signalled
 * @resv1: zero
 */
struct aio2_ring_consumer {
	__u64	head;
	__u64	resv0[7];
	__u32	notify;
	__u32	resv1[15];
};

/* aio2_ring_producer.flags */
#define AIO2_RING_OVERFLOW	(1U << 0)	/* events wait: call io_getevents2 */
#define AIO2_RING_BAD_HEAD	(1U << 1)	/* head was seen out of range */
#define AIO2_RING_FROZEN	(1U << 2)	/* drain, then map .next_map */
#define AIO2_RING_DEAD		(1U << 3)	/* the context is gone */

/**
 * struct aio2_ring_producer - the page that only the producer writes
 * @magic: AIO2_RING_MAGIC
 * @version: AIO2_VERSION in force
 * @ring_bytes: size of the data, a power of two
 * @event_max: longest event, in bytes
 * @resv0: zero
 * @tail: free-running byte position behind the newest event
 * @flags: AIO2_RING_*
 * @overflowed: events that went by the overflow list, since setup
 * @bad_heads: looks of the producer that found a bad head, since setup
 * @next_map: mmap offset of the ring that replaces this one, if FROZEN
 * @resv1: zero
 */
struct aio2_ring_producer {
	__u32	magic;
	__u32	version;
	__u32	ring_bytes;
	__u32	event_max;
	__u64	resv0[6];
	__u32	tail;
	__u32	flags;
	__u64	overflowed;
	__u64	bad_heads;
	__u64	next_map;
	__u64	resv1[4];
};

/* ---- requests: SPEC 6 ---- */

/* aio2_iocb.nr: a syscall number, or one of these */
#define AIO2_OP			(1U << 31)
#define AIO2_OP_NOP		(AIO2_OP | 0)	/* () */
#define AIO2_OP_POLL		(AIO2_OP | 1)	/* (fd, events) */
#define AIO2_OP_GROUP		(AIO2_OP | 2)	/* (key): ends after its members */

/* aio2_iocb.flags */
#define AIO2_IOCB_WRITE_ID	(1U << 0)	/* write .id back */
#define AIO2_IOCB_FULL		(1U << 1)	/* transfer everything or fail */
#define AIO2_IOCB_ASYNC		(1U << 2)	/* do not try inline */
#define AIO2_IOCB_MULTISHOT	(1U << 3)	/* POLL: an event each time */

/**
 * struct aio2_iocb - one request
 * @len: bytes of the whole iocb, attributes included; a multiple of 8
 * @nr_args: number of arguments that follow
 * @flags: AIO2_IOCB_*
 * @nr: syscall number of the running architecture, or AIO2_OP_*
 * @resv: zero
 * @user_data: returned in the event
 * @id: zero; with AIO2_IOCB_WRITE_ID ignored, and the id is written back
 * @args: the arguments, @nr_args of them; attributes follow
 */
struct aio2_iocb {
	__u32	len;
	__u16	nr_args;
	__u16	flags;
	__u32	nr;
	__u32	resv;
	__u64	user_data;
	__u64	id;
	__u64	args[];
};

/* aio2_attr.flags */
#define AIO2_ATTR_REQUIRED	(1U << 0)	/* fail the request if not handled */
#define AIO2_ATTR_RETURN	(1U << 1)	/* send a return in the event */

/**
 * struct aio2_attr - an attribute of a request
 * @id: AIO2_ATTR_*, 1 to AIO2_ATTR_ID_MAX
 * @len: bytes of this header and the payload; a multiple of 8
 * @flags: AIO2_ATTR_REQUIRED, AIO2_ATTR_RETURN
 */
struct aio2_attr {
	__u16	id;
	__u16	len;
	__u32	flags;
};

/* ---- events: SPEC 7 ---- */

/* aio2_event.flags */
#define AIO2_EVENT_MORE		(1U << 0)	/* not the last of its request */
#define AIO2_EVENT_NOT_STARTED	(1U << 1)	/* the operation never began */

/**
 * struct aio2_event - a completion
 * @len: bytes of the whole event, returns included; a multiple of 8
 * @flags: AIO2_EVENT_*
 * @user_data: that of the request
 * @res: result of the operation, or a negative errno
 */
struct aio2_event {
	__u32	len;
	__u32	flags;
	__u64	user_data;
	__s64	res;
};

/**
 * struct aio2_return - an attribute's return, in an event
 * @id: AIO2_ATTR_*
 * @len: bytes of this header and the payload; a multiple of 8
 * @status: 0, or a negative errno: SPEC 8 says which
 */
struct aio2_return {
	__u16	id;
	__u16	len;
	__s32	status;
};

/* ---- attributes: SPEC 8 ---- */

#define AIO2_ATTR_PRIORITY	1
#define AIO2_ATTR_DEADLINE	2
#define AIO2_ATTR_SIGNAL	3
#define AIO2_ATTR_GROUP		4
#define AIO2_ATTR_AFTER		5
#define AIO2_ATTR_CACHE		6
#define AIO2_ATTR_TAG		7
#define AIO2_ATTR_TIMING	8
#define AIO2_ATTR_PATH		9
#define AIO2_ATTR_CHECKSUM	10

/**
 * struct aio2_priority - AIO2_ATTR_PRIORITY in a request
 * @ioprio: as in ioprio_set(2)
 * @resv: zero
 */
struct aio2_priority {
	__u32	ioprio;
	__u32	resv;
};

/**
 * struct aio2_deadline - AIO2_ATTR_DEADLINE in a request
 * @timeout_ns: nanoseconds from acceptance, after which the request is
 *	cancelled with ETIMEDOUT
 */
struct aio2_deadline {
	__u64	timeout_ns;
};

/**
 * struct aio2_signal - AIO2_ATTR_SIGNAL in a request
 * @signo: signal number
 * @tid: thread of the calling process, or 0 for the process
 * @value: the signal's value
 */
struct aio2_signal {
	__u32	signo;
	__s32	tid;
	__u64	value;
};

/**
 * struct aio2_group - AIO2_ATTR_GROUP in a request
 * @key: names the group within the context; any value
 */
struct aio2_group {
	__u64	key;
};

/* aio2_after.kind */
#define AIO2_AFTER_REQUEST	0	/* target: a request id */
#define AIO2_AFTER_GROUP	1	/* target: a group key */
#define AIO2_AFTER_STREAM	2	/* target: n-th iocb before, this call */

/**
 * struct aio2_after - AIO2_ATTR_AFTER in a request
 * @target: what has to end first
 * @kind: AIO2_AFTER_*
 * @resv: zero
 */
struct aio2_after {
	__u64	target;
	__u32	kind;
	__u32	resv;
};

/* aio2_cache.hint */
#define AIO2_CACHE_NORMAL	0
#define AIO2_CACHE_KEEP		1	/* will be used again */
#define AIO2_CACHE_DROP		2	/* drop behind */
#define AIO2_CACHE_NO_READAHEAD	3

/**
 * struct aio2_cache - AIO2_ATTR_CACHE in a request; may be left out
 * @hint: AIO2_CACHE_*
 * @resv: zero
 */
struct aio2_cache {
	__u32	hint;
	__u32	resv;
};

/**
 * struct aio2_cache_return - AIO2_ATTR_CACHE in an event
 * @hit: bytes that were in the page cache
 * @miss: bytes that were not
 */
struct aio2_cache_return {
	__u64	hit;
	__u64	miss;
};

/**
 * struct aio2_tag - AIO2_ATTR_TAG in a request
 * @tag: seen in tracepoints
 */
struct aio2_tag {
	__u64	tag;
};

/**
 * struct aio2_timing_return - AIO2_ATTR_TIMING in an event
 * @submitted: when the request was accepted, CLOCK_MONOTONIC, ns
 * @started: when it began, ns
 * @completed: when its result was known, ns
 */
struct aio2_timing_return {
	__u64	submitted;
	__u64	started;
	__u64	completed;
};

/* aio2_path_return.where */
#define AIO2_PATH_INLINE	0	/* completed within the submission */
#define AIO2_PATH_PAGE_WAIT	1	/* retried after waiting for pages */
#define AIO2_PATH_WORKER	2	/* by a worker, or another thread */
#define AIO2_PATH_DEVICE	3	/* by the device's completion */

/**
 * struct aio2_path_return - AIO2_ATTR_PATH in an event
 * @where: AIO2_PATH_*
 * @cpu: the processor on which it completed
 * @blocked_ns: how long the submission spent on it, ns
 */
struct aio2_path_return {
	__u32	where;
	__u32	cpu;
	__u64	blocked_ns;
};

/* aio2_checksum.kind */
#define AIO2_CHECKSUM_CRC32C	0

/**
 * struct aio2_checksum - AIO2_ATTR_CHECKSUM in a request; may be left out
 * @kind: AIO2_CHECKSUM_*
 * @resv: zero
 */
struct aio2_checksum {
	__u32	kind;
	__u32	resv;
};

/**
 * struct aio2_checksum_return - AIO2_ATTR_CHECKSUM in an event
 * @kind: AIO2_CHECKSUM_*
 * @value: the checksum
 * @bytes: how many bytes it is of
 */
struct aio2_checksum_return {
	__u32	kind;
	__u32	value;
	__u64	bytes;
};

/* ---- io_getevents2: SPEC 4.3 ---- */

/* aio2_getevents.flags */
#define AIO2_GET_TIMEOUT	(1U << 0)	/* .timeout is valid; else for ever */
#define AIO2_GET_ABSTIME	(1U << 1)	/* .timeout is a CLOCK_MONOTONIC time */
#define AIO2_GET_ID		(1U << 2)	/* wait for request .id only */

/**
 * struct aio2_getevents - what to wait for
 * @flags: in: AIO2_GET_*
 * @min_events: in: how many events to wait for
 * @timeout: in: ns
 * @gather: in: ns after which one event is enough; 0: always @min_events
 * @sigmask: in: address of a signal mask to wait with, or 0
 * @sigmask_bytes: in: its size
 * @event_bytes: in: size of @events
 * @events: in: address to copy events to, or 0
 * @iocbs: in: address of iocbs to submit first, or 0
 * @iocb_bytes: in: their bytes
 * @submitted: out: bytes of them that were accepted; on errors too
 * @id: in: the request to wait for, with AIO2_GET_ID; otherwise 0
 * @nr_events: out: number of events that were copied; not on errors
 * @resv: zero
 */
struct aio2_getevents {
	__u32	flags;
	__u32	min_events;
	__u64	timeout;
	__u64	gather;
	__u64	sigmask;
	__u32	sigmask_bytes;
	__u32	event_bytes;
	__u64	events;
	__u64	iocbs;
	__u32	iocb_bytes;
	__u32	submitted;
	__u64	id;
	__u32	nr_events;
	__u32	resv;
};

/* ---- io_cancel2: SPEC 4.4 ---- */

/* aio2_cancel.flags: a request matches if every field named here matches */
#define AIO2_CANCEL_ID		(1U << 0)
#define AIO2_CANCEL_USER_DATA	(1U << 1)
#define AIO2_CANCEL_FD		(1U << 2)
#define AIO2_CANCEL_NR		(1U << 3)
#define AIO2_CANCEL_ALL		(1U << 4)	/* alone */
#define AIO2_CANCEL_WAIT	(1U << 5)	/* until all matches have ended */
#define AIO2_CANCEL_TIMEOUT	(1U << 6)	/* .timeout bounds the wait */

/**
 * struct aio2_cancel - which requests to cancel, and what became of them
 * @flags: in: AIO2_CANCEL_*
 * @fd: in: file descriptor that the request's first argument names
 * @nr: in: syscall number or AIO2_OP_*
 * @resv: zero
 * @id: in: request id
 * @user_data: in: the request's user_data
 * @timeout: in: ns
 * @cancelled: out: matches that had not begun, or ended by another's end
 * @interrupted: out: matches that had begun and were told to stop
 * @too_late: out: matches that run on to their end
 * @resv2: zero
 */
struct aio2_cancel {
	__u32	flags;
	__s32	fd;
	__u32	nr;
	__u32	resv;
	__u64	id;
	__u64	user_data;
	__u64	timeout;
	__u32	cancelled;
	__u32	interrupted;
	__u32	too_late;
	__u32	resv2;
};

#endif /* _UAPI_LINUX_AIO2_H */
