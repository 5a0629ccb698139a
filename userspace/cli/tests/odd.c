/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Programs as they are: each reads once with Linux AIO, and then does something that
 * a recorder would rather not see.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <libaio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* One request, with a context and a descriptor of its own. */
static void one(void)
{
	static char buffer[100];
	io_context_t ctx = NULL;
	struct iocb iocb, *list = &iocb;
	struct io_event event;
	int fd = open("/etc/passwd", O_RDONLY);

	io_prep_pread(&iocb, fd, buffer, sizeof(buffer), 0);
	if (io_setup(1, &ctx) || io_submit(ctx, 1, &list) != 1 ||
	    io_getevents(ctx, 1, 1, &event, NULL) != 1 || event.res != sizeof(buffer))
		_exit(100);
	close(fd);
	io_destroy(ctx);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	struct stat own;
	int fd, status;

	one();
	if (!strcmp(what, "closes all descriptors")) {
		for (fd = 3; fd < 1024; fd++)
			close(fd);
		/* By the numbers of all that was closed. */
		do
			fd = open("own", O_RDWR | O_CREAT, 0600);
		while (fd < 40);
		one();
		return fstat(fd, &own) || own.st_size ? 101 : 0;
	}
	if (!strcmp(what, "becomes another program"))
		return execl(argv[0], argv[0], NULL);
	if (!strcmp(what, "preloads something else")) {
		setenv("LD_PRELOAD", "", 1);
		return execl(argv[0], argv[0], NULL);
	}
	if (!strcmp(what, "has a child that dies")) {
		if (!fork()) {
			one();
			abort();
		}
		wait(&status);
		one();
		return WIFSIGNALED(status) ? 0 : 102;
	}
	if (!strcmp(what, "becomes a daemon")) {
		int gone[2];
		char byte;

		if (pipe(gone))
			return 103;
		if (fork()) {
			close(gone[0]);
			/* A program that goes takes its end of the pipe with it. */
			return 3;
		}
		close(gone[1]);
		setsid();
		if (fork())
			_exit(0);
		close(1);
		close(2);
		while (read(gone[0], &byte, 1))
			;
		one();
		/* And stays until nobody has anything for it. */
		while (read(0, &byte, 1) > 0)
			;
		return 0;
	}
	if (!strcmp(what, "leaves without its handlers"))
		_exit(4);
	return 0;
}
