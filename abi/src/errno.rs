//! Error numbers that the ABI itself produces, as positive integers.
//!
//! The values are those of Linux on x86-64 and arm64 (errno(3)). A `res` or a
//! `status` holds them negated.

/// Operation not permitted.
pub const EPERM: i32 = 1;
/// No such request, group or file.
pub const ENOENT: i32 = 2;
/// A signal ended the wait.
pub const EINTR: i32 = 4;
/// Structure or iocb larger than this version knows.
pub const E2BIG: i32 = 7;
/// Not a file descriptor.
pub const EBADF: i32 = 9;
/// A limit is reached; nothing is wrong with the request.
pub const EAGAIN: i32 = 11;
/// No memory.
pub const ENOMEM: i32 = 12;
/// An address that cannot be read or written.
pub const EFAULT: i32 = 14;
/// The context belongs to another process image (see fork).
pub const EXDEV: i32 = 18;
/// Malformed.
pub const EINVAL: i32 = 22;
/// Requests wait for each other in a circle.
pub const EDEADLK: i32 = 35;
/// Not implemented here.
pub const ENOSYS: i32 = 38;
/// Nothing to say, or the file ended before a full transfer.
pub const ENODATA: i32 = 61;
/// The time of a wait is over.
pub const ETIME: i32 = 62;
/// Not supported by this implementation, file or path.
pub const EOPNOTSUPP: i32 = 95;
/// The buffer cannot hold the next event.
pub const ENOBUFS: i32 = 105;
/// The request's deadline has passed.
pub const ETIMEDOUT: i32 = 110;
/// Cancelled before it started.
pub const ECANCELED: i32 = 125;

/// Name of an error number that the ABI produces, or `None` for others.
#[must_use]
pub const fn name(errno: i32) -> Option<&'static str> {
    Some(match errno {
        EPERM => "EPERM",
        ENOENT => "ENOENT",
        EINTR => "EINTR",
        E2BIG => "E2BIG",
        EBADF => "EBADF",
        EAGAIN => "EAGAIN",
        ENOMEM => "ENOMEM",
        EFAULT => "EFAULT",
        EXDEV => "EXDEV",
        EINVAL => "EINVAL",
        EDEADLK => "EDEADLK",
        ENOSYS => "ENOSYS",
        ENODATA => "ENODATA",
        ETIME => "ETIME",
        EOPNOTSUPP => "EOPNOTSUPP",
        ENOBUFS => "ENOBUFS",
        ETIMEDOUT => "ETIMEDOUT",
        ECANCELED => "ECANCELED",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! named {
        ($($errno:ident)*) => { [$(($errno, stringify!($errno))),*] };
    }

    #[test]
    fn each_number_of_the_abi_has_its_name_and_others_have_none() {
        let all = named!(EPERM ENOENT EINTR E2BIG EBADF EAGAIN ENOMEM EFAULT EXDEV EINVAL EDEADLK
            ENOSYS ENODATA ETIME EOPNOTSUPP ENOBUFS ETIMEDOUT ECANCELED);
        for (errno, text) in all {
            assert_eq!(name(errno), Some(text));
        }
        assert_eq!((name(0), name(-EPERM), name(5)), (None, None, None));
    }
}
