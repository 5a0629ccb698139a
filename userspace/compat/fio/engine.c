/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * An engine for fio that uses AIO2 itself, not in another's clothes:
 *
 *     fio --ioengine=external:/usr/lib/aio2/fio-aio2.so --aio2_report=1 ...
 *
 * The whole batch is one submission; events are taken from the mapped ring, and
 * it sleeps only if there are none. Compiled with the headers of the very fio that
 * is to load it (cargo xtask install --fio).
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "fio.h"
#include "optgroup.h"

#include <aio2/aio2.h>

/* The longest iocb that is built here: four arguments, and two attributes. */
#define IOCB_BYTES	(sizeof(struct aio2_iocb) + 4 * 8 + 2 * sizeof(struct aio2_attr))
#define EVENT_BYTES	(16 * 1024)

struct options {
	void *pad; /* An option must not lie at offset 0. */
	unsigned int report;
	unsigned int backend;
	char *record;
};

struct data {
	struct aio2_context *ctx;
	struct aio2_ring ring;
	struct aio2_iocbs iocbs;
	/* What is built and not submitted, in order; what was reaped. */
	struct io_u **queued, **done;
	unsigned int nr_queued, nr_done;
	__u64 *events;
	/* What the attributes told. */
	uint64_t hit, miss, places[4], requests;
};

static struct fio_option options[] = {
	{
		.name = "aio2_report",
		.lname = "Report of AIO2",
		.type = FIO_OPT_BOOL,
		.off1 = offsetof(struct options, report),
		.help = "Print what came from the page cache, and where operations ran",
		.def = "0",
		.category = FIO_OPT_C_ENGINE,
		.group = FIO_OPT_G_INVALID,
	},
	{
		.name = "aio2_backend",
		.lname = "Implementation of AIO2",
		.type = FIO_OPT_STR,
		.off1 = offsetof(struct options, backend),
		.help = "Who runs the operations",
		.def = "auto",
		.posval = {
			{ .ival = "auto", .oval = AIO2_PREFER_AUTO, .help = "the kernel if it can" },
			{ .ival = "kernel", .oval = AIO2_PREFER_KERNEL, .help = "the kernel or none" },
			{ .ival = "engine", .oval = AIO2_PREFER_ENGINE, .help = "the library" },
		},
		.category = FIO_OPT_C_ENGINE,
		.group = FIO_OPT_G_INVALID,
	},
	{
		.name = "aio2_record",
		.lname = "Record of AIO2",
		.type = FIO_OPT_STR_STORE,
		.off1 = offsetof(struct options, record),
		.help = "Record each request to this file, for aio2 report",
		.category = FIO_OPT_C_ENGINE,
		.group = FIO_OPT_G_INVALID,
	},
	{ .name = NULL },
};

static void end(struct data *d, const struct aio2_event *event)
{
	struct io_u *io_u = (struct io_u *)(uintptr_t)event->user_data;
	const struct aio2_cache_return *cache;
	const struct aio2_path_return *path;
	const void *payload;

	if (event->res < 0) {
		io_u->error = -event->res;
		io_u->resid = io_u->xfer_buflen;
	} else {
		io_u->error = 0;
		io_u->resid = ddir_rw(io_u->ddir) ? io_u->xfer_buflen - event->res : 0;
	}
	d->requests++;
	if (aio2_event_return(event, AIO2_ATTR_CACHE, &payload) >= (long)sizeof(*cache)) {
		cache = payload;
		d->hit += cache->hit;
		d->miss += cache->miss;
	}
	if (aio2_event_return(event, AIO2_ATTR_PATH, &payload) >= (long)sizeof(*path)) {
		path = payload;
		if (path->where < 4)
			d->places[path->where]++;
	}
	d->done[d->nr_done++] = io_u;
}

static int engine_getevents(struct thread_data *td, unsigned int min, unsigned int max,
			    const struct timespec *t)
{
	struct data *d = td->io_ops_data;
	uint64_t timeout = t ? t->tv_sec * 1000000000ULL + t->tv_nsec : 0;

	d->nr_done = 0;
	for (;;) {
		struct aio2_getevents wait = { 0 };
		size_t pos = 0;
		const struct aio2_event *event;
		long got = aio2_reap(&d->ring, d->events, EVENT_BYTES, max - d->nr_done);

		if (got < 0)
			return got;
		while ((event = aio2_event_next(d->events, got, &pos)))
			end(d, event);
		if (d->nr_done >= min || d->nr_done == max)
			return d->nr_done;
		if (got)
			continue;
		if (aio2_ring_pending(&d->ring) == AIO2_PENDING_FROZEN &&
		    !aio2_ring_next(d->ctx, &d->ring))
			continue;
		wait.min_events = 1;
		if (t) {
			wait.flags = AIO2_GET_TIMEOUT;
			wait.timeout = timeout;
		}
		got = aio2_getevents(d->ctx, &wait);
		if (got == -ETIME)
			return d->nr_done;
		if (got < 0 && got != -EINTR)
			return got;
	}
}

static struct io_u *engine_event(struct thread_data *td, int event)
{
	struct data *d = td->io_ops_data;

	return d->done[event];
}

static enum fio_q_status engine_queue(struct thread_data *td, struct io_u *io_u)
{
	struct data *d = td->io_ops_data;
	struct options *o = td->eo;
	__u64 user_data = (uintptr_t)io_u;
	int fd = io_u->file->fd, failed;

	fio_ro_check(td, io_u);
	if (d->nr_queued == td->o.iodepth)
		return FIO_Q_BUSY;
	switch (io_u->ddir) {
	case DDIR_READ:
		failed = aio2_add_pread(&d->iocbs, fd, io_u->xfer_buf, io_u->xfer_buflen,
					io_u->offset, user_data);
		break;
	case DDIR_WRITE:
		failed = aio2_add_pwrite(&d->iocbs, fd, io_u->xfer_buf, io_u->xfer_buflen,
					 io_u->offset, user_data);
		break;
	case DDIR_SYNC:
		failed = aio2_add_fsync(&d->iocbs, fd, user_data);
		break;
	case DDIR_DATASYNC:
		failed = aio2_add_fdatasync(&d->iocbs, fd, user_data);
		break;
	default:
		if (d->nr_queued)
			return FIO_Q_BUSY;
		if (io_u->ddir == DDIR_TRIM)
			do_io_u_trim(td, io_u);
		else
			do_io_u_sync(td, io_u);
		return FIO_Q_COMPLETED;
	}
	if (!failed && o->report) {
		aio2_ask(&d->iocbs, AIO2_ATTR_CACHE);
		aio2_ask(&d->iocbs, AIO2_ATTR_PATH);
	}
	if (failed) {
		io_u->error = -failed;
		return FIO_Q_COMPLETED;
	}
	d->queued[d->nr_queued++] = io_u;
	return FIO_Q_QUEUED;
}

static void submitted(struct thread_data *td, struct io_u **io_us, unsigned int nr)
{
	struct timespec now;
	unsigned int n;

	io_u_mark_submit(td, nr);
	if (!fio_fill_issue_time(td))
		return;
	fio_gettime(&now, NULL);
	for (n = 0; n < nr; n++) {
		io_us[n]->issue_time = now;
		io_u_queued(td, io_us[n]);
	}
}

static int engine_commit(struct thread_data *td)
{
	struct data *d = td->io_ops_data;
	struct aio2_iocbs *s = &d->iocbs;
	char *at = s->base;
	unsigned int first = 0;

	while (s->bytes) {
		long accepted = aio2_submit(d->ctx, at, s->bytes);
		unsigned int nr = 0;
		long left = accepted;

		if (accepted == -EAGAIN) {
			/* Something of it is in flight: that has to end. */
			usleep(1);
			continue;
		}
		if (accepted < 0) {
			td_verror(td, -accepted, "aio2_submit");
			return accepted;
		}
		for (; left > 0; nr++) {
			left -= ((struct aio2_iocb *)at)->len;
			at += ((struct aio2_iocb *)at)->len;
		}
		submitted(td, d->queued + first, nr);
		first += nr;
		s->bytes -= accepted;
	}
	d->nr_queued = 0;
	return aio2_iocbs_init(s, s->base, s->room);
}

static void engine_cleanup(struct thread_data *td)
{
	struct data *d = td->io_ops_data;
	struct options *o = td->eo;

	if (!d)
		return;
	if (o->report && d->requests)
		log_info("aio2: %llu requests by the %s: %llu bytes from the page cache, %llu not; "
			 "ran inline %llu, after a page wait %llu, on a worker %llu, on the device "
			 "%llu\n", (unsigned long long)d->requests,
			 aio2_context_implementation(d->ctx) == AIO2_PREFER_KERNEL ? "kernel" :
										     "engine",
			 (unsigned long long)d->hit, (unsigned long long)d->miss,
			 (unsigned long long)d->places[0], (unsigned long long)d->places[1],
			 (unsigned long long)d->places[2], (unsigned long long)d->places[3]);
	aio2_context_free(d->ctx); /* Null is allowed. */
	free(d->iocbs.base);
	free(d->events);
	free(d->queued);
	free(d->done);
	free(d);
	td->io_ops_data = NULL;
}

static int engine_init(struct thread_data *td)
{
	struct options *o = td->eo;
	unsigned int depth = td->o.iodepth;
	struct aio2_setup setup = { .version = 1, .max_requests = depth };
	struct data *d = calloc(1, sizeof(*d));
	void *room = malloc(depth * IOCB_BYTES);
	int failed = -ENOMEM;

	if (d && room) {
		d->events = malloc(EVENT_BYTES);
		d->queued = calloc(depth, sizeof(*d->queued));
		d->done = calloc(depth, sizeof(*d->done));
		aio2_iocbs_init(&d->iocbs, room, depth * IOCB_BYTES);
		if (d->events && d->queued && d->done)
			failed = o->record ? aio2_context_new_recorded(&setup, o->backend,
								       o->record, &d->ctx) :
					     aio2_context_new(&setup, o->backend, &d->ctx);
	} else {
		free(room);
	}
	if (!failed)
		failed = aio2_ring(d->ctx, &d->ring);
	td->io_ops_data = d;
	if (failed) {
		td_verror(td, -failed, "aio2_context_new");
		if (d)
			engine_cleanup(td);
		return 1;
	}
	return 0;
}

struct ioengine_ops ioengine = {
	.name = "aio2",
	.version = FIO_IOOPS_VERSION,
	.flags = FIO_ASYNCIO_SYNC_TRIM | FIO_ASYNCIO_SETS_ISSUE_TIME,
	.init = engine_init,
	.cleanup = engine_cleanup,
	.queue = engine_queue,
	.commit = engine_commit,
	.getevents = engine_getevents,
	.event = engine_event,
	.open_file = generic_open_file,
	.close_file = generic_close_file,
	.get_file_size = generic_get_file_size,
	.option_struct_size = sizeof(struct options),
	.options = options,
};
