/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A read by each version of its name that programs ask the C library for: of now,
 * and of before 2.34.
 */
#define _GNU_SOURCE
#include <aio.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

int old_read(struct aiocb *cb);
int old_listio(int mode, struct aiocb *const list[], int nent, struct sigevent *event);
__asm__(".symver old_read,aio_read@GLIBC_2.2.5");
__asm__(".symver old_listio,lio_listio@GLIBC_2.4");

int main(void)
{
	char data[10];
	struct aiocb cb, *list[] = { &cb };

	memset(&cb, 0, sizeof(cb));
	cb.aio_fildes = open("/etc/passwd", O_RDONLY);
	cb.aio_buf = data;
	cb.aio_nbytes = sizeof(data);
	cb.aio_lio_opcode = LIO_READ;
	cb.aio_sigevent.sigev_notify = SIGEV_NONE;
	if (aio_read(&cb))
		return 1;
	while (aio_error(&cb) == EINPROGRESS)
		;
	if (old_read(&cb))
		return 2;
	while (aio_error(&cb) == EINPROGRESS)
		;
	if (old_listio(LIO_WAIT, list, 1, NULL))
		return 3;
	return aio_return(&cb) != sizeof(data);
}
