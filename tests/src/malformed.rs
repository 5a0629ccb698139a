//! The table of malformed iocbs: field by field, with the error of each.
//! SPEC: section 6.2.
//!
//! Each case stands first in a stream, where its error is returned, and behind
//! two good iocbs, which are accepted all the same.

use crate::context::errno;
use crate::env::{Env, Outcome};
use crate::request::{Batch, Request};
use aio2_abi::attr::{self, AttrFlags};
use aio2_abi::iocb;
use libc::{E2BIG, EINVAL};

/// A good iocb, broken by a patch of its bytes.
struct Case {
    name: String,
    /// The requirement that it breaks.
    id: &'static str,
    base: Request,
    /// Offset, and bytes to put there.
    patches: Vec<(usize, Vec<u8>)>,
    /// Bytes of the stream after this length are cut off.
    cut: Option<usize>,
    errno: i32,
}

/// Offset of the first attribute behind two arguments.
const ATTR: usize = iocb::HEADER_BYTES + 2 * 8;

/// Two arguments, a TAG (16 bytes) and a TIMING (8 bytes).
fn rich() -> Request {
    Request::call(libc::SYS_clock_gettime, &[1, 0])
        .attr(attr::TAG, AttrFlags::empty(), &7_u64.to_ne_bytes())
        .attr(attr::TIMING, AttrFlags::RETURN, &[])
}

fn case(name: impl Into<String>, id: &'static str, errno: i32) -> Case {
    Case { name: name.into(), id, base: rich(), patches: Vec::new(), cut: None, errno }
}

impl Case {
    fn put(mut self, offset: usize, bytes: &[u8]) -> Self {
        self.patches.push((offset, bytes.to_vec()));
        self
    }

    fn base(mut self, base: Request) -> Self {
        self.base = base;
        self
    }

    fn cut(mut self, bytes: usize) -> Self {
        self.cut = Some(bytes);
        self
    }
}

fn table() -> Vec<Case> {
    let mut cases = Vec::new();
    // 64 bytes of an iocb of 72; what is left of a stream.
    for left in [1, 4, 8, 16, 24, 31] {
        cases.push(case(format!("{left} bytes are left"), "R-IOCB-2", EINVAL).cut(left));
    }
    for len in [0_u32, 1, 7, 8, 16, 24, 31, 33, 36, 60, 63, 65, 68, 71] {
        cases.push(case(format!("len {len}"), "R-IOCB-3", EINVAL).put(0, &len.to_ne_bytes()));
    }
    for len in [80_u32, 88, 512, 1016, 1024] {
        cases.push(case(format!("len {len} of 72"), "R-IOCB-3", EINVAL).put(0, &len.to_ne_bytes()));
    }
    for len in [1032_u32, 4096, 1 << 16, 1 << 31, u32::MAX - 7] {
        cases.push(case(format!("len {len}"), "R-IOCB-3", E2BIG).put(0, &len.to_ne_bytes()));
    }
    for bit in 4..16 {
        let flags = 1_u16 << bit;
        cases.push(
            case(format!("flag {flags:#x}"), "R-IOCB-4", EINVAL).put(6, &flags.to_ne_bytes()),
        );
    }
    for resv in [1_u32, 1 << 16, 1 << 31, u32::MAX] {
        cases
            .push(case(format!("resv {resv:#x}"), "R-IOCB-5", EINVAL).put(12, &resv.to_ne_bytes()));
    }
    for id in [1_u64, 1 << 32, u64::MAX] {
        cases.push(case(format!("id {id:#x}"), "R-IOCB-6", EINVAL).put(24, &id.to_ne_bytes()));
    }
    for nr_args in [7_u16, 8, 255, 256, u16::MAX] {
        let case = case(format!("{nr_args} arguments"), "R-IOCB-7", EINVAL);
        cases.push(case.put(4, &nr_args.to_ne_bytes()));
    }
    for nr_args in [1_u16, 2, 6] {
        let case = case(format!("{nr_args} arguments in 32 bytes"), "R-IOCB-7", EINVAL);
        cases.push(case.base(Request::nop(0)).put(4, &nr_args.to_ne_bytes()));
    }
    cases.push(
        case("6 arguments in 72 bytes", "R-IOCB-7", EINVAL)
            .base(Request::call(libc::SYS_close_range, &[0; 5]))
            .put(4, &6_u16.to_ne_bytes()),
    );
    for len in [0_u16, 1, 4, 7, 9, 12, 15, 17] {
        let case = case(format!("attribute length {len}"), "R-IOCB-8", EINVAL);
        cases.push(case.put(ATTR + 2, &len.to_ne_bytes()));
    }
    for len in [32_u16, 40, 1024, u16::MAX - 7] {
        let case = case(format!("attribute length {len} of 24"), "R-IOCB-8", EINVAL);
        cases.push(case.put(ATTR + 2, &len.to_ne_bytes()));
    }
    cases.push(
        case("last attribute one word too long", "R-IOCB-8", EINVAL)
            .put(ATTR + 16 + 2, &16_u16.to_ne_bytes()),
    );
    for id in [0_u16, 64, 65, 256, u16::MAX] {
        let case = case(format!("attribute id {id}"), "R-IOCB-8", EINVAL);
        cases.push(case.put(ATTR, &id.to_ne_bytes()));
    }
    for bit in [2, 3, 15, 16, 31] {
        let flags = 1_u32 << bit;
        let case = case(format!("attribute flags {flags:#x}"), "R-IOCB-8", EINVAL);
        cases.push(case.put(ATTR + 4, &flags.to_ne_bytes()));
    }
    cases
        .push(case("attribute twice", "R-IOCB-8", EINVAL).put(ATTR + 16, &attr::TAG.to_ne_bytes()));
    cases.push(
        case("unknown attribute twice", "R-IOCB-8", EINVAL)
            .put(ATTR, &63_u16.to_ne_bytes())
            .put(ATTR + 16, &63_u16.to_ne_bytes()),
    );
    cases
}

pub(crate) fn each_case_has_its_error_and_the_iocbs_before_it_are_accepted(
    env: &Env<'_>,
) -> Outcome {
    let context = env.context();
    let cases = table();
    assert!(cases.len() >= 60, "{} cases", cases.len());
    for Case { name, id, base, patches, cut, errno: expected } in &cases {
        for good in [0, 2] {
            let mut batch = Batch::of((0..good).map(|n| Request::nop(100 + n)));
            let before = batch.bytes().len();
            batch.push(base);
            let end = batch.bytes().len();
            let bytes = batch.bytes();
            for (offset, patch) in patches {
                bytes[before + offset..][..patch.len()].copy_from_slice(patch);
            }
            let end = cut.map_or(end, |cut| before + cut);
            let original = bytes.to_vec();
            let result = context.submit_bytes(&mut bytes[..end]);
            assert_eq!(bytes, original, "{id}, {name}: the stream is not written to");
            if good == 0 {
                assert_eq!(errno(result), Some(*expected), "{id}, {name}");
            } else {
                assert_eq!(result, Ok(before), "{id}, {name}: the two before it are accepted");
                let events = context.reap(2);
                let user_data: Vec<u64> = events.iter().map(|e| e.user_data).collect();
                assert_eq!(user_data, [100, 101], "{id}, {name}");
                // The rest of the stream has its error then.
                let rest = context.submit_bytes(&mut bytes[before..end]);
                assert_eq!(errno(rest), Some(*expected), "{id}, {name}");
            }
        }
    }
    context.assert_idle();
    println!("{} malformed iocbs, each first and behind two good ones", cases.len());
    Ok(())
}

pub(crate) fn stream_begins_at_a_multiple_of_8(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let nop = Batch::of([Request::nop(1)]).bytes().to_vec();
    for shift in 1..8 {
        let mut words = [0_u64; 16];
        let bytes = zerocopy::IntoBytes::as_mut_bytes(&mut words);
        bytes[shift..shift + nop.len()].copy_from_slice(&nop);
        let result = context.submit_bytes(&mut bytes[shift..shift + nop.len()]);
        assert_eq!(errno(result), Some(EINVAL), "shifted by {shift}");
    }
    context.assert_idle();
    Ok(())
}

pub(crate) fn first_rule_that_is_broken_gives_the_error(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let broken = |patches: &[(usize, &[u8])], cut: usize| {
        let mut batch = Batch::of([rich()]);
        let bytes = batch.bytes();
        for (offset, patch) in patches {
            bytes[*offset..][..patch.len()].copy_from_slice(patch);
        }
        errno(context.submit_bytes(&mut bytes[..cut]))
    };
    let too_long = 1032_u32.to_ne_bytes();
    // Too long, and what comes after it in the list: E2BIG.
    assert_eq!(broken(&[(0, &too_long), (6, &[0xff, 0xff])], 72), Some(E2BIG));
    assert_eq!(broken(&[(0, &too_long), (12, &[1])], 72), Some(E2BIG));
    assert_eq!(broken(&[(0, &too_long), (4, &[9])], 72), Some(E2BIG));
    assert_eq!(broken(&[(0, &too_long), (ATTR, &[0, 0])], 72), Some(E2BIG));
    // Too long, and what comes before it: EINVAL.
    assert_eq!(broken(&[(0, &too_long)], 24), Some(EINVAL), "fewer than 32 bytes are left");
    assert_eq!(broken(&[(0, &1033_u32.to_ne_bytes())], 72), Some(EINVAL), "no multiple of 8");
    // Misaligned, and too long.
    let mut words = [0_u64; 16];
    let bytes = zerocopy::IntoBytes::as_mut_bytes(&mut words);
    bytes[4..8].copy_from_slice(&too_long);
    assert_eq!(errno(context.submit_bytes(&mut bytes[4..104])), Some(EINVAL));
    Ok(())
}

pub(crate) fn nothing_else_is_malformed(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let all = AttrFlags::REQUIRED | AttrFlags::RETURN;
    let mut odd = vec![
        Request::new(u32::MAX, &[u64::MAX; 6]),
        Request::new(511, &[]),
        Request::call(libc::SYS_ptrace, &[0; 4]),
        Request::call(libc::SYS_close, &[]),
        Request::call(libc::SYS_close, &[u64::MAX; 6]),
        Request::nop(0).flags(iocb::IocbFlags::all()),
        Request::nop(0).attr(63, all, &[0xff; 64]),
        Request::nop(0).attr(attr::TAG, all, &[]),
        Request::nop(0).attr(attr::TIMING, all, &[0xff; 8]),
        Request::nop(0).attr(attr::PRIORITY, all, &[0xff; 256]),
        Request::nop(0).attr(attr::CACHE, all, &[0xff; 8]),
    ];
    // All attributes that there can be, and the longest iocb.
    let mut every = Request::nop(0);
    for id in 1..=attr::ID_MAX {
        every = every.attr(id, all, &[]);
    }
    odd.push(every);
    odd.push(Request::nop(0).attr(60, all, &[1; 1024 - 32 - 8]));
    let count = odd.len();
    let mut batch = Batch::of(odd.into_iter().zip(0..).map(|(r, n)| r.user_data(n)));
    assert_eq!(batch.bytes_from(count - 1).len(), 1024);
    context.submit_all(&mut batch);
    let mut events = context.reap(count);
    events.sort_by_key(|e| e.user_data);
    for (event, n) in events.iter().zip(0..) {
        assert_eq!(event.user_data, n);
        assert!(event.res < 0, "iocb {n} ends with an error in its event: {event:?}");
        assert!(event.len <= env.probe().event_max);
    }
    assert_eq!(events[count - 2].returns.len(), 63);
    context.assert_idle();
    Ok(())
}
