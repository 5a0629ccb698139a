//! Operations that are not syscalls: values of `aio2_iocb.nr` with the top
//! bit set. SPEC: section 6.3.

/// Set in `nr` when it names an operation of AIO2 instead of a syscall.
pub const OP: u32 = 1 << 31;
/// Does nothing: `()`, result 0.
pub const NOP: u32 = OP;
/// Waits for readiness: `(fd, events)`, result as `revents` of poll(2).
pub const POLL: u32 = OP | 1;
/// Closes a group and ends after its last member: `(key)`, result the number
/// of members that failed.
pub const GROUP: u32 = OP | 2;

/// Largest number of arguments of an iocb.
pub const MAX_ARGS: usize = 6;

/// An operation of AIO2 itself: its name and how many arguments it takes.
#[must_use]
pub const fn describe(nr: u32) -> Option<(&'static str, usize)> {
    match nr {
        NOP => Some(("nop", 0)),
        POLL => Some(("poll", 2)),
        GROUP => Some(("group", 1)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_has_a_name_and_its_arguments() {
        let described = [NOP, POLL, GROUP].map(describe);
        assert_eq!(described, [Some(("nop", 0)), Some(("poll", 2)), Some(("group", 1))]);
        assert_eq!((describe(OP | 3), describe(0)), (None, None));
    }
}
