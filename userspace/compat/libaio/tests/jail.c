/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Runs a program as nobody, where it is run by root (unless JAIL_KEEPS_USER), and with io_uring and Linux
 * AIO forbidden as container runtimes do it: by a seccomp filter that says EPERM.
 * Shows first that they are forbidden.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FORBID(nr) \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1), \
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)

int main(int argc, char **argv)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		FORBID(SYS_io_uring_setup),
		FORBID(SYS_io_uring_enter),
		FORBID(SYS_io_uring_register),
		FORBID(SYS_io_setup),
		FORBID(SYS_io_submit),
		FORBID(SYS_io_getevents),
		FORBID(SYS_io_pgetevents),
		FORBID(SYS_io_cancel),
		FORBID(SYS_io_destroy),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = { sizeof(code) / sizeof(code[0]), code };
	static char params[256];
	unsigned long ctx = 0;

	if (argc < 2)
		return 2;
	if (!getenv("JAIL_KEEPS_USER") && !getuid() && (setgid(65534) || setuid(65534)))
		return 3;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter))
		return 4;
	if (syscall(SYS_io_uring_setup, 4, params) != -1 || errno != EPERM ||
	    syscall(SYS_io_setup, 1, &ctx) != -1 || errno != EPERM)
		return 5;
	printf("io_uring and Linux AIO are forbidden, uid %d\n", getuid());
	fflush(stdout);
	execvp(argv[1], argv + 1);
	return 6;
}
