/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Preloaded before a libaio, spoils it in one way, which SABOTAGE names: the
 * suite must find each.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <libaio.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int is(const char *name)
{
	const char *wanted = getenv("SABOTAGE");

	return wanted && !strcmp(wanted, name);
}

#define REAL(name, version) ((__typeof__(&name))dlvsym(RTLD_NEXT, #name, "LIBAIO_0." version))

int io_submit(io_context_t ctx, long nr, struct iocb **list)
{
	int n, got;

	for (n = 0; n < nr && list; n++) {
		struct iocb *i = list[n];

		if ((unsigned long)i < 4096 || (unsigned long)ctx < 4096)
			continue;
		if (is("no eventfd") && i->aio_lio_opcode < 9)
			i->u.c.flags &= ~1;
		if (is("early completion") && i->aio_lio_opcode == IO_CMD_POLL)
			i->u.poll.events |= POLLOUT | POLLIN, i->aio_fildes = 1;
		if (is("wrong place") && i->aio_lio_opcode == IO_CMD_PWRITE)
			i->u.c.offset++;
	}
	got = REAL(io_submit, "1")(ctx, nr, list);
	if (is("wrong errno") && got == -EBADF)
		return -EINVAL;
	if (is("refusal is taken for an end") && got == -EAGAIN)
		return 0;
	return got;
}

int io_getevents(io_context_t ctx, long min, long nr, struct io_event *e, struct timespec *t)
{
	static struct io_event last;
	static struct timespec now;
	static long count;
	int n, got;

	if (is("time ignored") && t)
		t = &now;
	if (is("too few") && min > 1)
		min = 1, nr = 1;
	got = REAL(io_getevents, "4")(ctx, min, nr, e, t);
	for (n = 0; n < got; n++) {
		struct iocb *i = e[n].obj;

		count++;
		if (is("short result") && (long)e[n].res > 1)
			e[n].res--;
		if (is("wiped data") && (long)e[n].res > 0 && i->aio_lio_opcode == IO_CMD_PREAD)
			memset(i->u.c.buf, 0, 1);
		if (is("wrong data pointer"))
			e[n].data = i;
		if (is("lost event") && count % 5 == 0)
			memmove(&e[n], &e[n + 1], (--got - n) * sizeof(*e));
		if (is("doubled event") && count % 3 == 0)
			e[n] = last;
		last = e[n];
	}
	return got;
}

int io_cancel(io_context_t ctx, struct iocb *i, struct io_event *e)
{
	int got = REAL(io_cancel, "4")(ctx, i, e);

	return is("cancel of everything") ? -EINPROGRESS : got;
}

int io_destroy(io_context_t ctx)
{
	return is("destroy of nothing") ? 0 : REAL(io_destroy, "4")(ctx);
}
