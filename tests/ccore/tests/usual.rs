//! The parser of the kernel that nearly all iocbs pass, which is not among what is proved,
//! beside the one that is: on each combination of values at and around its limits.

use aio2_abi::attr;
use aio2_ccore::{core, iocbs};
use zerocopy::IntoBytes;

const HEADER: usize = aio2_abi::iocb::HEADER_BYTES;

/// An iocb of these fields, and of `left` bytes.
fn stream(
    (len, nr_args, flags): (u32, u16, u16),
    (resv, id): (u32, u64),
    attrs: &[u64],
    left: usize,
) -> Vec<u8> {
    let head = u64::from(len) | u64::from(nr_args) << 32 | u64::from(flags) << 48;
    let mut words = vec![head, u64::from(resv) << 32 | 17, 7, id];
    words.extend(std::iter::repeat_n(3, usize::from(nr_args.min(8))));
    words.extend(attrs);
    words.resize(words.len().max(left.div_ceil(8)), 0);
    words.as_bytes()[..left].to_vec()
}

/// Whether it is usual; looks that the parser which is proved says the same then.
fn look(stream: &[u8]) -> bool {
    let parsed = iocbs::by_c(stream);
    if parsed.is_err() {
        return false;
    }
    let words: Vec<u64> = stream.as_chunks().0.iter().map(|w| u64::from_ne_bytes(*w)).collect();
    core::usual(&words, stream.len() as u32).is_some()
}

/// SPEC: R-IOCB-3, R-IOCB-4, R-IOCB-5, R-IOCB-6, R-IOCB-7
#[test]
fn what_is_usual_has_a_well_formed_head() {
    let mut usual = 0;
    let timing = [u64::from(attr::TIMING) << 16 | 2 << 32 | 8];
    for nr_args in [0, 1, 2, 3, 4, 5, 6, 7, 8, 0x8000, u16::MAX] {
        for flags in (0..16).map(|bit| 1 << bit).chain([0, 3, 5, 6]) {
            for (resv, id) in [(0, 0), (1, 0), (0, 1), (1 << 31, 0), (0, 1 << 63)] {
                for len in (0..=128).chain([1016, 1024, 1032, 1 << 16, u32::MAX]) {
                    for left in [HEADER, 56, 88, 96, 104, 112, 1040] {
                        let head = (len, nr_args, flags);
                        usual += u32::from(look(&stream(head, (resv, id), &timing, left)));
                    }
                }
            }
        }
    }
    assert!(usual > 0);
}

/// SPEC: R-IOCB-8
#[test]
fn what_is_usual_has_well_formed_attributes() {
    let attrs = |lens: &[u64], ids: &[u64], flags: &[u64]| -> Vec<u64> {
        let with = |len: u64| {
            let with = move |id: u64| flags.iter().map(move |flag| flag << 32 | id << 16 | len);
            ids.iter().flat_map(move |id| with(*id))
        };
        lens.iter().flat_map(|len| with(*len)).collect()
    };
    let ids: Vec<u64> = (0..=66).chain([127, 0x8000, 0xffff]).collect();
    let all = attrs(&[0, 1, 7, 8, 9, 16, 24, 0xffff], &ids, &[0, 1, 2, 3, 4, 6, 1 << 31]);
    let asking = [attr::CACHE, attr::TIMING, attr::PATH].map(u64::from);
    let ids = [&asking[..], &[0, 1, 63, 64]].concat();
    let some = attrs(&[8, 16], &ids, &[0, 2, 3]);
    let mut usual = 0;
    let mut try_all = |attrs: &[u64]| {
        let len = HEADER + 8 + attrs.len() * 8;
        for left in [len - 8, len, len + 8] {
            usual += u32::from(look(&stream((len as u32, 1, 0), (0, 0), attrs, left)));
        }
    };
    for &a in &all {
        try_all(&[a]);
        for &b in &some {
            try_all(&[a, b]);
            try_all(&[b, a]);
        }
    }
    for &a in &some {
        for &b in &some {
            for &c in &some {
                try_all(&[a, b, c]);
            }
        }
    }
    for &a in &asking {
        let ask = |id: u64| 2 << 32 | id << 16 | 8;
        try_all(&[ask(asking[0]), ask(asking[1]), ask(asking[2]), ask(a)]);
    }
    assert!(usual > 0);
}
