//! `io_setup2`: parameters, and what comes of them. SPEC: section 4.1.

use crate::context::errno;
use crate::env::{Env, Outcome, setup, skip};
use crate::file::{Pipe, eventfd, file_with, proc_self};
use crate::request::Request;
use aio2::syscall;
use aio2_abi::attr;
use aio2_abi::op;
use aio2_abi::setup::{Features, Hints, Setup, SetupFlags};
use libc::{EBADF, EINVAL, EOPNOTSUPP};
use std::os::fd::AsRawFd;
use zerocopy::IntoBytes;

/// The error that these parameters give, both to create and to probe.
fn refused(env: &Env<'_>, setup: Setup) -> Option<i32> {
    let created = errno(env.factory.create(&setup));
    let probe = Setup { flags: setup.flags | SetupFlags::PROBE.bits(), ..setup };
    assert_eq!(errno(env.factory.probe(&probe)), created, "a probe says the same: {setup:?}");
    created
}

fn created(env: &Env<'_>, setup: Setup) -> Setup {
    *env.context_with(setup).backend().setup()
}

pub(crate) fn version_in_force_is_the_smaller_one(env: &Env<'_>) -> Outcome {
    for version in [1, 2, 7, u32::MAX] {
        assert_eq!(created(env, Setup { version, ..setup() }).version, 1, "asked for {version}");
    }
    Ok(())
}

pub(crate) fn version_0_is_refused(env: &Env<'_>) -> Outcome {
    assert_eq!(refused(env, Setup { version: 0, ..setup() }), Some(EINVAL));
    Ok(())
}

pub(crate) fn unknown_flag_is_refused(env: &Env<'_>) -> Outcome {
    for bit in 3..32 {
        let flags = 1 << bit;
        assert_eq!(
            errno(env.factory.create(&Setup { flags, ..setup() })),
            Some(EINVAL),
            "bit {bit}"
        );
        let flags = flags | SetupFlags::PROBE.bits();
        assert_eq!(
            errno(env.factory.probe(&Setup { flags, ..setup() })),
            Some(EINVAL),
            "bit {bit}"
        );
    }
    let both = (SetupFlags::PROBE | SetupFlags::GROW).bits();
    assert_eq!(errno(env.factory.probe(&Setup { flags: both, ..setup() })), Some(EINVAL));
    Ok(())
}

pub(crate) fn unknown_hint_is_ignored_and_cleared(env: &Env<'_>) -> Outcome {
    for bit in 0..32 {
        let hints = created(env, Setup { hints: 1 << bit, ..setup() }).hints;
        let known = Hints::all().bits() & 1 << bit;
        assert_eq!(hints & !known, 0, "bit {bit}");
    }
    Ok(())
}

pub(crate) fn probe_tells_what_a_creation_would_and_creates_nothing(env: &Env<'_>) -> Outcome {
    let wanted = Setup { ring_bytes: 5000, max_requests: 17, concurrency: 3, ..setup() };
    let before = (proc_self("fd").len(), proc_self("task").len());
    let probe = Setup { flags: SetupFlags::PROBE.bits(), ..wanted };
    let mut probed = env.factory.probe(&probe).expect("a probe succeeds");
    assert_eq!((proc_self("fd").len(), proc_self("task").len()), before);
    let real = created(env, wanted);
    // Where a ring lies is known once there is one; flags are as they were given.
    probed.flags = real.flags;
    probed.map_offset = real.map_offset;
    assert_eq!(probed, real);
    assert_eq!((real.ring_bytes, real.max_requests, real.concurrency), (8192, 17, 3));
    assert!(real.iocb_max >= 1024 && real.event_max >= 1024 && real.event_max <= 4096);
    Ok(())
}

pub(crate) fn result_of_a_probe_can_be_used_to_create(env: &Env<'_>) -> Outcome {
    let probed = Setup { flags: 0, ..env.probe() };
    assert_eq!(created(env, probed).ring_bytes, probed.ring_bytes);
    // Fields that only the implementation writes are ignored.
    let scribbled = Setup {
        features: u64::MAX,
        attrs: u64::MAX,
        returns: u64::MAX,
        ops: u64::MAX,
        syscalls: [u64::MAX; 8],
        iocb_max: u32::MAX,
        event_max: u32::MAX,
        map_offset: u64::MAX,
        map_consumer: u32::MAX,
        map_producer: u32::MAX,
        map_data: u32::MAX,
        map_bytes: u32::MAX,
        ..setup()
    };
    assert_eq!(created(env, scribbled), created(env, setup()));
    Ok(())
}

pub(crate) fn ring_size_is_rounded_up_to_a_power_of_two(env: &Env<'_>) -> Outcome {
    for (asked, given) in
        [(0, 65536), (1, 4096), (4095, 4096), (4096, 4096), (4097, 8192), (65537, 131_072)]
    {
        assert_eq!(created(env, Setup { ring_bytes: asked, ..setup() }).ring_bytes, given);
    }
    let flags = SetupFlags::PROBE.bits();
    let largest = Setup { ring_bytes: (1 << 29) + 1, flags, ..setup() };
    assert_eq!(env.factory.probe(&largest).map(|s| s.ring_bytes), Ok(1 << 30));
    for ring_bytes in [(1 << 30) + 1, 1 << 31, u32::MAX] {
        assert_eq!(refused(env, Setup { ring_bytes, ..setup() }), Some(EINVAL), "{ring_bytes}");
    }
    Ok(())
}

pub(crate) fn request_limit_has_a_default_and_a_maximum(env: &Env<'_>) -> Outcome {
    for (asked, given) in [(0, 4096), (1, 1), (4097, 4097), (1 << 20, 1 << 20)] {
        assert_eq!(created(env, Setup { max_requests: asked, ..setup() }).max_requests, given);
    }
    for max_requests in [(1 << 20) + 1, u32::MAX] {
        assert_eq!(refused(env, Setup { max_requests, ..setup() }), Some(EINVAL));
    }
    Ok(())
}

pub(crate) fn concurrency_has_a_default_and_a_maximum(env: &Env<'_>) -> Outcome {
    assert!(created(env, setup()).concurrency >= 1);
    for concurrency in [1, 2, 1024] {
        assert_eq!(created(env, Setup { concurrency, ..setup() }).concurrency, concurrency);
    }
    for concurrency in [1025, u32::MAX] {
        assert_eq!(refused(env, Setup { concurrency, ..setup() }), Some(EINVAL));
    }
    Ok(())
}

pub(crate) fn field_without_its_flag_is_refused(env: &Env<'_>) -> Outcome {
    for value in [1, -1, i32::MAX] {
        assert_eq!(refused(env, Setup { eventfd: value, ..setup() }), Some(EINVAL));
        assert_eq!(refused(env, Setup { fd: value, ..setup() }), Some(EINVAL));
    }
    Ok(())
}

pub(crate) fn eventfd_must_be_one(env: &Env<'_>) -> Outcome {
    let with = |eventfd| Setup { flags: SetupFlags::EVENTFD.bits(), eventfd, ..setup() };
    let pipe = Pipe::new();
    let good = eventfd();
    assert_eq!(errno(env.factory.create(&with(-1))), Some(EBADF));
    assert_eq!(errno(env.factory.create(&with(1_000_000))), Some(EBADF));
    assert_eq!(errno(env.factory.create(&with(pipe.read_fd()))), Some(EINVAL));
    let (_, file) = file_with(env, "no_eventfd", b"");
    assert_eq!(errno(env.factory.create(&with(file.as_raw_fd()))), Some(EINVAL));
    assert_eq!(errno(env.factory.create(&with(good.as_raw_fd()))), None);
    // With PROBE it is not looked at.
    let probe = Setup { flags: (SetupFlags::EVENTFD | SetupFlags::PROBE).bits(), ..with(-1) };
    assert_eq!(errno(env.factory.probe(&probe)), None);
    Ok(())
}

pub(crate) fn errors_are_found_in_the_order_of_the_table(env: &Env<'_>) -> Outcome {
    let grow = SetupFlags::GROW.bits();
    let eventfd = SetupFlags::EVENTFD.bits();
    let has_grow = env.probe().features().contains(Features::GROW);
    // 4 and 5 before 7.
    let too_large = Setup { flags: grow, ring_bytes: u32::MAX, ..setup() };
    assert_eq!(errno(env.factory.create(&too_large)), Some(EINVAL));
    let no_version = Setup { flags: grow, version: 0, ..setup() };
    assert_eq!(errno(env.factory.create(&no_version)), Some(EINVAL));
    // 5 and 6 before 8.
    let bad_limit = Setup { flags: eventfd, eventfd: -1, max_requests: u32::MAX, ..setup() };
    assert_eq!(errno(env.factory.create(&bad_limit)), Some(EINVAL));
    let other_fd = Setup { flags: eventfd, eventfd: -1, fd: 3, ..setup() };
    assert_eq!(errno(env.factory.create(&other_fd)), Some(EINVAL));
    if !has_grow {
        // 7 before 8.
        let both = Setup { flags: grow | eventfd, eventfd: -1, ..setup() };
        assert_eq!(errno(env.factory.create(&both)), Some(EOPNOTSUPP));
    }
    Ok(())
}

pub(crate) fn grow_without_the_feature_is_not_supported(env: &Env<'_>) -> Outcome {
    if env.probe().features().contains(Features::GROW) {
        return skip("GROW is there");
    }
    let grow = Setup { flags: SetupFlags::GROW.bits(), ..setup() };
    assert_eq!(errno(env.factory.create(&grow)), Some(EOPNOTSUPP));
    Ok(())
}

pub(crate) fn syscalls_lists_exactly_what_can_be_run(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let probe = env.probe();
    for nr in (0..600).chain([1 << 16, 1 << 30, (1 << 31) - 1]) {
        // A wrong number of arguments, so that nothing is run.
        let right = syscall::lookup(nr).map_or(0, |s| usize::from(s.nr_args));
        let wrong = if right == 6 { 5 } else { 6 };
        let expected = if probe.has_syscall(nr) { EINVAL } else { EOPNOTSUPP };
        let res = context.run(Request::new(nr, &[0; 6][..wrong])).res;
        assert_eq!(res, -i64::from(expected), "syscall {nr}");
    }
    assert_eq!(probe.syscalls, syscall::bitmap(), "appendix A");
    Ok(())
}

pub(crate) fn ops_lists_exactly_the_operations_that_are_there(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let ops = env.probe().ops;
    assert_eq!(ops & 1, 1, "NOP is there");
    for n in 0..64 {
        if ops >> n & 1 == 0 {
            let args = op::describe(op::OP | n).map_or(0, |(_, nr_args)| nr_args);
            let res = context.run(Request::new(op::OP | n, &[0; 6][..args])).res;
            assert_eq!(res, -i64::from(EOPNOTSUPP), "operation {n}");
        } else {
            let res = context.run(Request::new(op::OP | n, &[0; 6])).res;
            assert_eq!(res, -i64::from(EINVAL), "operation {n} with six arguments");
        }
    }
    Ok(())
}

pub(crate) fn attrs_lists_exactly_what_is_taken(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let setup = env.probe();
    let (_, file) = file_with(env, "attrs", &[7; 4096]);
    let mut buffer = [0; 4096];
    for id in 1..=attr::ID_MAX {
        // PRIORITY 0 is none; a TAG may be anything; a hint of 0 is no advice.
        let mut payload = vec![0; attr::kind(id).map_or(0, |kind| kind.request.into())];
        let mut result = 4096;
        match id {
            attr::DEADLINE => payload.fill(0xff),
            // By default it is ignored.
            attr::SIGNAL => payload[0] = libc::SIGWINCH as u8,
            // No request has this id.
            attr::AFTER => result = -i64::from(libc::ENOENT),
            _ => {}
        }
        let flags = attr::AttrFlags::REQUIRED | attr::AttrFlags::RETURN;
        let read = Request::pread(file.as_raw_fd(), &mut buffer, 0);
        let event = context.run(read.attr(id, flags, &payload));
        if setup.attrs >> id & 1 == 1 {
            assert_eq!(event.res, result, "attribute {id} is listed: {event:?}");
            assert_eq!(event.status(id), 0, "attribute {id} is listed");
            let listed = setup.returns >> id & 1 == 1;
            let bytes = event.returns[0].2.len();
            assert_eq!(bytes > 0, listed, "attribute {id}: {bytes} bytes of payload");
        } else {
            assert_eq!(event.res, -i64::from(EOPNOTSUPP), "attribute {id} is not listed");
            assert_eq!(setup.returns >> id & 1, 0, "attribute {id} is returned and not taken");
        }
    }
    assert_eq!(setup.attrs & 1, 0, "0 is no attribute");
    Ok(())
}

pub(crate) fn parameters_are_not_changed_on_an_error(env: &Env<'_>) -> Outcome {
    let bad = Setup { version: 0, ring_bytes: 1, hints: u32::MAX, ..setup() };
    let before = bad.as_bytes().to_vec();
    assert_eq!(errno(env.factory.create(&bad)), Some(EINVAL));
    assert_eq!(bad.as_bytes(), before);
    Ok(())
}
