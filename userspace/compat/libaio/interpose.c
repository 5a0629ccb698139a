/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * syscall(2) for programs that make the calls of Linux AIO by number, some of
 * them with a context of libaio's: those go to the drop-in, all others on to the
 * C library. With LD_PRELOAD, as an option: what else calls syscall() goes through
 * here too.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

int aio2_libaio_setup(int max, void *ctx);
int aio2_libaio_destroy(void *ctx);
long aio2_libaio_submit(void *ctx, long nr, void *iocbs);
int aio2_libaio_cancel(void *ctx, void *iocb);
long aio2_libaio_getevents(void *ctx, long min, long nr, void *events, const void *timeout,
			   const void *sigmask);

/* What the syscall takes for a mask. */
struct mask {
	const void *set;
	size_t bytes;
};

static long told(long result)
{
	if (result >= 0)
		return result;
	errno = -result;
	return -1;
}

__asm__(".symver aio2_syscall,syscall@@GLIBC_2.2.5");
long aio2_syscall(long nr, ...)
{
	static long (*libc)(long, ...);
	const struct mask *mask;
	long a[6];
	va_list args;
	int n;

	va_start(args, nr);
	for (n = 0; n < 6; n++)
		a[n] = va_arg(args, long);
	va_end(args);
	switch (nr) {
	case SYS_io_setup:
		return told(aio2_libaio_setup(a[0], (void *)a[1]));
	case SYS_io_destroy:
		return told(aio2_libaio_destroy((void *)a[0]));
	case SYS_io_submit:
		return told(aio2_libaio_submit((void *)a[0], a[1], (void *)a[2]));
	case SYS_io_cancel:
		return told(aio2_libaio_cancel((void *)a[0], (void *)a[1]));
	case SYS_io_getevents:
		return told(aio2_libaio_getevents((void *)a[0], a[1], a[2], (void *)a[3],
						  (void *)a[4], NULL));
	case SYS_io_pgetevents:
		mask = (const struct mask *)a[5];
		return told(aio2_libaio_getevents((void *)a[0], a[1], a[2], (void *)a[3],
						  (void *)a[4], mask ? mask->set : NULL));
	}
	if (!libc)
		libc = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	return libc(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}
