/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Preloaded before the drop-in, spoils it in one way, which SABOTAGE names: the
 * suite must find each.
 */
#define _GNU_SOURCE
#include <aio.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

static int is(const char *name)
{
	const char *wanted = getenv("SABOTAGE");

	return wanted && !strcmp(wanted, name);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int aio_read(struct aiocb *cb)
{
	static int calls;
	struct aiocb *seen = cb;

	if ((size_t)seen < 4096)
		return REAL(aio_read)(cb);
	if (is("lost request") && ++calls % 3 == 0) {
		cb->__error_code = EINPROGRESS;
		return 0;
	}
	if (is("no signal") && cb->aio_sigevent.sigev_notify == SIGEV_SIGNAL)
		cb->aio_sigevent.sigev_notify = SIGEV_NONE;
	if (is("no thread") && cb->aio_sigevent.sigev_notify == SIGEV_THREAD)
		cb->aio_sigevent.sigev_notify = SIGEV_NONE;
	if (is("doubled request")) {
		struct aiocb *other = malloc(sizeof(*other));

		*other = *cb;
		REAL(aio_read)(other);
	}
	if (is("wrong value"))
		cb->aio_sigevent.sigev_value.sival_int++;
	return REAL(aio_read)(cb);
}

int aio_write(struct aiocb *cb)
{
	if (is("wrong place"))
		cb->aio_offset++;
	if (is("in any order") && cb->aio_nbytes == 1024 && ((char *)cb->aio_buf)[0] % 7 == 3) {
		struct aiocb *other = malloc(sizeof(*other));

		memcpy(other, cb, sizeof(*other));
		other->aio_nbytes = 1;
		REAL(aio_write)(other);
	}
	return REAL(aio_write)(cb);
}

int aio_error(const struct aiocb *cb)
{
	int error = REAL(aio_error)(cb);

	if (is("early completion") && error == EINPROGRESS)
		return 0;
	if (is("wrong errno") && error == EBADF)
		return EINVAL;
	return error;
}

ssize_t aio_return(struct aiocb *cb)
{
	ssize_t got = REAL(aio_return)(cb);

	if (is("short result") && got > 1)
		return got - 1;
	if (is("wiped data") && got > 0 && cb->aio_lio_opcode == LIO_READ)
		memset((void *)cb->aio_buf, 0, 1);
	return got;
}

int aio_suspend(const struct aiocb *const list[], int nent, const struct timespec *t)
{
	if (is("ignored suspend") && nent >= 0)
		return 0;
	return REAL(aio_suspend)(list, nent, is("time ignored") ? NULL : t);
}

int aio_cancel(int fd, struct aiocb *cb)
{
	if (is("cancel of everything") && fcntl(fd, F_GETFL) >= 0)
		return REAL(aio_cancel)(fd, NULL) == AIO_ALLDONE ? AIO_ALLDONE : AIO_CANCELED;
	if (is("cancel of nothing") && fcntl(fd, F_GETFL) >= 0)
		return AIO_ALLDONE;
	return REAL(aio_cancel)(fd, cb);
}

int aio_fsync(int op, struct aiocb *cb)
{
	if (is("fsync that does nothing") && (op == O_SYNC || op == O_DSYNC) &&
	    fcntl(cb->aio_fildes, F_GETFL) >= 0) {
		cb->__error_code = 0;
		cb->__return_value = 0;
		return 0;
	}
	return REAL(aio_fsync)(op, cb);
}

int lio_listio(int mode, struct aiocb *const list[], int nent, struct sigevent *event)
{
	if (is("LIO_WAIT that does not wait") && mode == LIO_WAIT)
		mode = LIO_NOWAIT, event = NULL;
	if (is("list tells nobody"))
		event = NULL;
	return REAL(lio_listio)(mode, list, nent, event);
}
