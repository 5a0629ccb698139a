/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What libaio2-posix.so exports: names and conventions. What they do is in Rust
 * (exports.rs), where each call returns a negative errno.
 *
 * A thread that is cancelled must not be unwound through Rust: cancellation is
 * off within each call, and looked for between the pieces of a long one.
 */
#define _GNU_SOURCE
#include <aio.h>
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <time.h>

int aio2_posix_transfer(struct aiocb *cb, int writes);
int aio2_posix_fsync(int op, struct aiocb *cb);
int aio2_posix_error(const struct aiocb *cb);
int aio2_posix_suspend(const struct aiocb *const *list, int nent, const struct timespec *until);
int aio2_posix_cancel(int fd, struct aiocb *cb);
int aio2_posix_listio(int mode, struct aiocb *const *list, int nent, struct sigevent *sig);

/* How soon a thread that is cancelled in aio_suspend leaves it, in nanoseconds. */
#define PIECE 100000000

static int told(int result)
{
	if (result >= 0)
		return result;
	errno = -result;
	return -1;
}

#define GUARDED(call) ({ \
	int before_, result_; \
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); \
	result_ = (call); \
	pthread_setcancelstate(before_, NULL); \
	result_; })

int aio_read(struct aiocb *cb)
{
	return told(GUARDED(aio2_posix_transfer(cb, 0)));
}

int aio_write(struct aiocb *cb)
{
	return told(GUARDED(aio2_posix_transfer(cb, 1)));
}

int aio_fsync(int op, struct aiocb *cb)
{
	return told(GUARDED(aio2_posix_fsync(op, cb)));
}

/* A signal handler may call it. */
int aio_error(const struct aiocb *cb)
{
	int error = __atomic_load_n(&cb->__error_code, __ATOMIC_ACQUIRE), saved = errno;

	if (error != EINPROGRESS)
		return error;
	error = GUARDED(aio2_posix_error(cb));
	errno = saved;
	return told(error);
}

ssize_t aio_return(struct aiocb *cb)
{
	return cb->__return_value;
}

static long long ns(const struct timespec *t)
{
	return t->tv_sec * 1000000000LL + t->tv_nsec;
}

int aio_suspend(const struct aiocb *const list[], int nent, const struct timespec *timeout)
{
	struct timespec now, end, piece;
	int last, result;

	clock_gettime(CLOCK_MONOTONIC, &now);
	end = now;
	/* What is no time is over at once, as for the original. */
	if (timeout && timeout->tv_nsec >= 0 && timeout->tv_nsec < 1000000000) {
		/* A time so far away is none. */
		end.tv_sec += timeout->tv_sec > 1LL << 32 ? 1LL << 32 : timeout->tv_sec;
		end.tv_nsec += timeout->tv_nsec;
		if (end.tv_nsec >= 1000000000)
			end.tv_sec++, end.tv_nsec -= 1000000000;
	}
	do {
		pthread_testcancel();
		last = timeout && ns(&end) - ns(&now) <= PIECE;
		if (last) {
			piece = end;
		} else {
			piece = now;
			piece.tv_nsec += PIECE;
			if (piece.tv_nsec >= 1000000000)
				piece.tv_sec++, piece.tv_nsec -= 1000000000;
		}
		result = GUARDED(aio2_posix_suspend(list, nent, &piece));
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (result == -EAGAIN && !last);
	return told(result);
}

int aio_cancel(int fd, struct aiocb *cb)
{
	return told(GUARDED(aio2_posix_cancel(fd, cb)));
}

int lio_listio(int mode, struct aiocb *const list[], int nent, struct sigevent *sig)
{
	return told(GUARDED(aio2_posix_listio(mode, list, nent, sig)));
}

/* What it could set is of threads that are not there. */
void aio_init(const struct aioinit *init)
{
	(void)init;
}

_Static_assert(sizeof(struct aiocb) == sizeof(struct aiocb64), "struct aiocb64");
#define SAME(name) __typeof__(name##64) name##64 __attribute__((alias(#name)))
SAME(aio_read);
SAME(aio_write);
SAME(aio_fsync);
SAME(aio_error);
SAME(aio_return);
SAME(aio_suspend);
SAME(aio_cancel);
SAME(lio_listio);
