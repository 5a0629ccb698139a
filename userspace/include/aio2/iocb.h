/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Building iocbs, one behind the other in memory of the caller's.
 *
 * Each function that adds something returns 0, or -ENOBUFS if there is no room
 * for it, -E2BIG if the iocb would be too long, and has changed nothing then.
 */
#ifndef AIO2_IOCB_H
#define AIO2_IOCB_H

#include <stdint.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <aio2/abi.h>

AIO2_BEGIN_DECLS

/**
 * struct aio2_iocbs - a stream of iocbs that is being built
 * @base: where it begins, at a multiple of 8
 * @room: bytes from there on
 * @bytes: bytes of them that are iocbs
 * @last: where the last iocb begins, in bytes
 */
struct aio2_iocbs {
	void	*base;
	size_t	room;
	size_t	bytes;
	size_t	last;
};

/* No iocbs yet, and so many bytes of room for them; EINVAL if not aligned to 8. */
AIO2_INLINE int aio2_iocbs_init(struct aio2_iocbs *s, void *base, size_t room)
{
	s->base = base;
	s->room = room;
	s->bytes = 0;
	s->last = 0;
	return (uintptr_t)base % 8 ? -EINVAL : 0;
}

/* Adds an iocb without attributes. */
AIO2_INLINE int aio2_add(struct aio2_iocbs *s, __u32 nr, const __u64 *args,
			 unsigned int nr_args, __u64 user_data)
{
	struct aio2_iocb *iocb;
	size_t len = sizeof(*iocb) + nr_args * sizeof(*args);

	if (nr_args > AIO2_MAX_ARGS)
		return -E2BIG;
	if (len > s->room - s->bytes)
		return -ENOBUFS;
	iocb = (struct aio2_iocb *)((char *)s->base + s->bytes);
	memset(iocb, 0, sizeof(*iocb));
	iocb->len = len;
	iocb->nr_args = nr_args;
	iocb->nr = nr;
	iocb->user_data = user_data;
	if (nr_args)
		memcpy((char *)iocb + sizeof(*iocb), args, nr_args * sizeof(*args));
	s->last = s->bytes;
	s->bytes += len;
	return 0;
}

/* The iocb that was added last; there must be one. */
AIO2_INLINE struct aio2_iocb *aio2_last(const struct aio2_iocbs *s)
{
	return (struct aio2_iocb *)((char *)s->base + s->last);
}

/* Adds an attribute to the iocb that was added last. */
AIO2_INLINE int aio2_add_attr(struct aio2_iocbs *s, __u16 id, __u32 flags,
			      const void *payload, size_t bytes)
{
	struct aio2_attr attr = { 0, 0, 0 };
	size_t padded = (bytes + 7) & ~(size_t)7;
	char *at = (char *)s->base + s->bytes;
	size_t len = sizeof(attr) + padded;

	if (!s->bytes)
		return -EINVAL;
	if (bytes > AIO2_IOCB_MAX || aio2_last(s)->len + len > AIO2_IOCB_MAX)
		return -E2BIG;
	if (len > s->room - s->bytes)
		return -ENOBUFS;
	attr.id = id;
	attr.len = len;
	attr.flags = flags;
	memcpy(at, &attr, sizeof(attr));
	memset(at + sizeof(attr), 0, padded);
	if (bytes)
		memcpy(at + sizeof(attr), payload, bytes);
	aio2_last(s)->len += len;
	s->bytes += len;
	return 0;
}

/* Asks for an attribute's return: AIO2_ATTR_TIMING, _PATH, _CACHE, _CHECKSUM. */
AIO2_INLINE int aio2_ask(struct aio2_iocbs *s, __u16 id)
{
	return aio2_add_attr(s, id, AIO2_ATTR_RETURN, NULL, 0);
}

/* Sets AIO2_IOCB_* flags of the iocb that was added last. */
AIO2_INLINE int aio2_set_flags(struct aio2_iocbs *s, __u16 flags)
{
	if (!s->bytes)
		return -EINVAL;
	aio2_last(s)->flags |= flags;
	return 0;
}

AIO2_INLINE int aio2_add_nop(struct aio2_iocbs *s, __u64 user_data)
{
	return aio2_add(s, AIO2_OP_NOP, NULL, 0, user_data);
}

AIO2_INLINE int aio2_add_pread(struct aio2_iocbs *s, int fd, void *buffer,
			       size_t bytes, off_t offset, __u64 user_data)
{
	const __u64 args[] = { (__u64)fd, (uintptr_t)buffer, bytes, (__u64)offset };

	return aio2_add(s, SYS_pread64, args, 4, user_data);
}

AIO2_INLINE int aio2_add_pwrite(struct aio2_iocbs *s, int fd, const void *buffer,
				size_t bytes, off_t offset, __u64 user_data)
{
	const __u64 args[] = { (__u64)fd, (uintptr_t)buffer, bytes, (__u64)offset };

	return aio2_add(s, SYS_pwrite64, args, 4, user_data);
}

AIO2_INLINE int aio2_add_preadv2(struct aio2_iocbs *s, int fd,
				 const struct iovec *iov, int count,
				 off_t offset, int flags, __u64 user_data)
{
	const __u64 args[] = { (__u64)fd, (uintptr_t)iov, (__u64)count,
			       (__u64)offset, 0, (__u64)flags };

	return aio2_add(s, SYS_preadv2, args, 6, user_data);
}

AIO2_INLINE int aio2_add_pwritev2(struct aio2_iocbs *s, int fd,
				  const struct iovec *iov, int count,
				  off_t offset, int flags, __u64 user_data)
{
	const __u64 args[] = { (__u64)fd, (uintptr_t)iov, (__u64)count,
			       (__u64)offset, 0, (__u64)flags };

	return aio2_add(s, SYS_pwritev2, args, 6, user_data);
}

AIO2_INLINE int aio2_add_openat(struct aio2_iocbs *s, int dir, const char *path,
				int flags, mode_t mode, __u64 user_data)
{
	const __u64 args[] = { (__u64)dir, (uintptr_t)path, (__u64)flags, mode };

	return aio2_add(s, SYS_openat, args, 4, user_data);
}

AIO2_INLINE int aio2_add_close(struct aio2_iocbs *s, int fd, __u64 user_data)
{
	const __u64 args[] = { (__u64)fd };

	return aio2_add(s, SYS_close, args, 1, user_data);
}

AIO2_INLINE int aio2_add_fsync(struct aio2_iocbs *s, int fd, __u64 user_data)
{
	const __u64 args[] = { (__u64)fd };

	return aio2_add(s, SYS_fsync, args, 1, user_data);
}

AIO2_INLINE int aio2_add_fdatasync(struct aio2_iocbs *s, int fd, __u64 user_data)
{
	const __u64 args[] = { (__u64)fd };

	return aio2_add(s, SYS_fdatasync, args, 1, user_data);
}

AIO2_INLINE int aio2_add_poll(struct aio2_iocbs *s, int fd, unsigned int events,
			      __u64 user_data)
{
	const __u64 args[] = { (__u64)fd, events };

	return aio2_add(s, AIO2_OP_POLL, args, 2, user_data);
}

AIO2_END_DECLS

#endif
