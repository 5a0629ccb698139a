//! Rings in shared memory: who can write what, and what a peer's files must be.
#![cfg(not(aio2_loom))]
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::atomic::Ordering::Relaxed;

use aio2::ring::{Consumer, Geometry, Memory, Producer, header};
use aio2::shm::{ConsumerMap, FileError, ProducerMap, RingFiles, create, map_context};
use aio2_abi::ring::{ConsumerPage, ProducerPage};
use aio2_abi::setup::Setup;
use zerocopy::IntoBytes;

fn ring() -> (Producer<ProducerMap>, RingFiles) {
    create(Geometry::new(4096, 1024).unwrap().starting_at((1 << 32) - 2048)).unwrap()
}

fn event(words: usize, id: u64) -> Vec<u64> {
    let mut event = vec![id; words];
    event[0] = header(words as u32 * 8, 0);
    event
}

// SPEC: R-RING-2, R-RING-16
#[test]
fn events_pass_through_shared_memory_across_every_wrap() {
    let (mut producer, files) = ring();
    let consumer = files.map().unwrap();
    drop(files);
    let mut in_place = 0;
    let mut buffer = [0; 128];
    for id in 0..2000 {
        let sent = event(1 + id as usize % 128, id);
        assert!(producer.push(&sent));
        in_place += consumer.memory().view().words.len();
        assert_eq!(consumer.reap(&mut buffer, 9).unwrap().next(), Some(&sent[..]));
    }
    assert_eq!(in_place, 2000 * 2 * 4096 / 8, "the data is there twice");
}

// SPEC: R-RING-2
#[test]
fn both_halves_of_the_data_are_the_same_memory() {
    let (mut producer, files) = ring();
    let consumer = files.map().unwrap();
    for id in 0..30 {
        assert!(producer.push(&event(16, id)));
    }
    let words = consumer.memory().view().words;
    let (once, twice) = words.split_at(words.len() / 2);
    assert!(once.iter().zip(twice).all(|(a, b)| a.load(Relaxed) == b.load(Relaxed)));
    assert!(once.iter().any(|word| word.load(Relaxed) == 29));
}

#[test]
fn two_mappings_reap_each_event_once() {
    let (mut producer, files) = ring();
    let a = files.map().unwrap();
    let (consumer, data) = files.try_clone().unwrap().into_fds();
    let b = RingFiles::from_fds(consumer, data).unwrap().map().unwrap();
    assert!(producer.push(&event(3, 1)));
    assert!(producer.push(&event(3, 2)));
    let mut buffer = [0; 128];
    assert_eq!(a.reap(&mut buffer, 1).unwrap().words()[1], 1);
    assert_eq!(b.reap(&mut buffer, 1).unwrap().words()[1], 2);
    assert_eq!(a.reap(&mut buffer, 1).unwrap().len(), 0);
}

/// What the child below writes to.
const TARGET: &str = "AIO2_TEST_WRITES_TO";

/// Not a test of its own: run by the next one, in a process that may die.
#[test]
fn child_writes_where_it_is_told() {
    let Ok(target) = std::env::var(TARGET) else { return };
    let (mut producer, files) = ring();
    let consumer: Consumer<ConsumerMap> = files.map().unwrap();
    assert!(producer.push(&event(3, 1)));
    let view = consumer.memory().view();
    assert_eq!(view.words[2048 / 8 + 1].load(Relaxed), 1, "readable");
    let made_by_producer = producer.memory().view();
    match target.as_str() {
        "data" => view.words[2048 / 8 + 1].store(2, Relaxed),
        "mirrored data" => view.words[(4096 + 2048) / 8 + 1].store(2, Relaxed),
        "tail" => view.tail.store(0, Relaxed),
        "head, as producer" => made_by_producer.head.store(0, Relaxed),
        "head" => view.head.store(0, Relaxed),
        "notify" => view.notify.store(1, Relaxed),
        "data, as producer" => made_by_producer.words[0].store(1, Relaxed),
        other => panic!("no such target: {other}"),
    }
}

// SPEC: R-RING-1
#[test]
fn writing_what_belongs_to_the_other_side_faults() {
    let write_to = |target: &str| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_writes_where_it_is_told", "--quiet"])
            .env(TARGET, target)
            .output()
            .unwrap()
            .status
    };
    for target in ["data", "mirrored data", "tail", "head, as producer"] {
        assert_eq!(write_to(target).signal(), Some(libc::SIGSEGV), "{target}");
    }
    for target in ["head", "notify", "data, as producer"] {
        assert!(write_to(target).success(), "{target}");
    }
}

// SPEC: R-RING-1
#[test]
fn a_peer_cannot_get_at_the_data_by_any_other_way() {
    let (_producer, files) = ring();
    let (consumer, data) = files.into_fds();
    let (consumer, data) = (File::from(consumer), File::from(data));
    let size = |file: &File| file.metadata().unwrap().len();
    assert_eq!((size(&consumer), size(&data)), (4096, 4096 + 4096));
    let refused = |result: io::Result<()>| result.unwrap_err().raw_os_error() == Some(libc::EPERM);
    assert!(refused(data.write_all_at(&[1], 0)));
    assert!(refused(data.set_len(0)));
    assert!(refused(consumer.set_len(0)), "the producer would die by SIGBUS");
    for file in [&consumer, &data] {
        assert!(refused(file.set_len(1 << 20)));
        // SAFETY: F_ADD_SEALS takes an integer.
        let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, libc::F_SEAL_EXEC) };
        assert!(refused(if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }));
    }
    assert!(refused(memmap2::MmapRaw::map_raw(&data).map(drop)));
    let again = File::options()
        .read(true)
        .write(true)
        .open(format!("/proc/self/fd/{}", data.as_raw_fd()))
        .unwrap();
    assert!(refused(memmap2::MmapRaw::map_raw(&again).map(drop)));
    let readable = memmap2::MmapOptions::new().map_raw_read_only(&data).unwrap();
    // SAFETY: a whole mapping of our own, which nothing refers to.
    let result = unsafe {
        libc::mprotect(
            readable.as_mut_ptr().cast(),
            readable.len(),
            libc::PROT_READ | libc::PROT_WRITE,
        )
    };
    assert_eq!((result, io::Error::last_os_error().raw_os_error()), (-1, Some(libc::EACCES)));
}

// SPEC: R-SHM-1
#[test]
fn files_that_are_no_ring_are_refused() {
    let fds = || ring().1.into_fds();
    let from = |consumer: OwnedFd, data: OwnedFd| RingFiles::from_fds(consumer, data).unwrap_err();
    let (consumer, data) = fds();
    assert!(matches!(from(data, consumer), FileError::Seals { .. }), "the wrong way round");
    let (consumer, data) = fds();
    assert!(matches!(from(data.try_clone().unwrap(), data), FileError::Size { .. }));
    let null = || OwnedFd::from(File::open("/dev/null").unwrap());
    assert!(matches!(from(null(), fds().1), FileError::Io(_)));
    assert!(matches!(from(consumer, null()), FileError::Io(_)));
    let bare = memory_file();
    assert!(matches!(from(bare.into(), fds().1), FileError::Seals { found: 0, .. }));
}

#[test]
fn a_ring_with_an_impossible_header_is_refused() {
    type Check = fn(&FileError) -> bool;
    let page = std::mem::size_of::<ProducerPage>();
    let cases: [(u64, u32, Check); 7] = [
        (0, 0, |e| matches!(e, FileError::Magic(0))),
        (4, 2, |e| matches!(e, FileError::Version(2))),
        (8, 0, |e| matches!(e, FileError::Geometry(_))),
        (8, 12288, |e| matches!(e, FileError::Geometry(_))),
        (8, 2048, |e| matches!(e, FileError::Geometry(_))),
        (8, 1 << 20, |e| matches!(e, FileError::Size { .. })),
        (12, 4104, |e| matches!(e, FileError::Geometry(_))),
    ];
    for (offset, value, is_right) in cases {
        let (_producer, files) = ring();
        let (consumer, good) = files.into_fds();
        let mut bytes = vec![0; 4096 + 4096];
        File::from(good).read_exact_at(&mut bytes, 0).unwrap();
        assert!(page <= 4096);
        bytes[offset as usize..offset as usize + 4].copy_from_slice(&value.to_ne_bytes());
        let error = RingFiles::from_fds(consumer, sealed_file(&bytes)).unwrap_err();
        assert!(is_right(&error), "{offset}, {value}: {error}");
    }
}

/// An empty file that can be sealed.
fn memory_file() -> File {
    use std::os::fd::FromRawFd;
    // SAFETY: the name is a C string.
    let fd = unsafe { libc::memfd_create(c"forged".as_ptr(), libc::MFD_ALLOW_SEALING) };
    assert!(fd >= 0);
    // SAFETY: the descriptor is new, and no one else's.
    unsafe { File::from_raw_fd(fd) }
}

/// A file of `bytes` with the seals of a ring.
fn sealed_file(bytes: &[u8]) -> OwnedFd {
    let file = memory_file();
    let fd = file.as_raw_fd();
    file.write_all_at(bytes, 0).unwrap();
    let seals =
        libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL | libc::F_SEAL_FUTURE_WRITE;
    // SAFETY: F_ADD_SEALS takes an integer.
    assert_eq!(unsafe { libc::fcntl(fd, libc::F_ADD_SEALS, seals) }, 0);
    file.into()
}

#[test]
fn sizes_that_cannot_be_mapped_are_refused() {
    for ring_bytes in [8, 2048] {
        let error = create(Geometry::new(ring_bytes, 8).unwrap()).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}

/// A file laid out as a context of the kernel is, but that the data is there
/// once, and `setup` for it.
fn like_a_context() -> (File, Setup) {
    let (ring_bytes, page) = (8192, 4096);
    let setup = Setup {
        ring_bytes,
        event_max: 1024,
        map_offset: 2 * 4096,
        map_consumer: page,
        map_producer: 3 * page,
        map_data: 4 * page,
        ..Setup::default()
    };
    let file = memory_file();
    let at = |offset: u32| setup.map_offset + u64::from(offset);
    file.set_len(at(setup.map_data + 2 * ring_bytes)).unwrap();
    let head = std::mem::offset_of!(ConsumerPage, head) as u32;
    file.write_all_at(&8192_u64.to_ne_bytes(), at(setup.map_consumer + head)).unwrap();
    let tail = std::mem::offset_of!(ProducerPage, tail) as u32;
    file.write_all_at(&(8192_u32 + 24).to_ne_bytes(), at(setup.map_producer + tail)).unwrap();
    file.write_all_at(event(3, 7).as_bytes(), at(setup.map_data)).unwrap();
    file.write_all_at(&[9; 8], at(setup.map_data + 2 * ring_bytes - 8)).unwrap();
    (file, setup)
}

// SPEC: R-RING-2
#[test]
fn a_context_is_mapped_from_where_its_setup_says() {
    let (file, setup) = like_a_context();
    // SAFETY: the file is a ring, and stays as long as it is.
    let consumer = unsafe { map_context(file.as_fd(), &setup) }.unwrap();
    let mut buffer = [0; 3];
    assert_eq!(consumer.reap(&mut buffer, 9).unwrap().next(), Some(&event(3, 7)[..]));
    let words = consumer.memory().view().words;
    assert_eq!(words.last().unwrap().load(Relaxed).to_ne_bytes(), [9; 8]);
    for wrong in [
        Setup { map_data: setup.map_data + 4096, ..setup },
        Setup { map_data: setup.map_producer, ..setup },
        Setup { ring_bytes: 2048, ..setup },
        Setup { ring_bytes: 4095, ..setup },
    ] {
        // SAFETY: as above.
        let error = unsafe { map_context(file.as_fd(), &wrong) }.err().unwrap();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }
}

// SPEC: R-RING-3
#[test]
fn children_do_not_inherit_the_mapping() {
    let Ok(smaps) = std::fs::read_to_string("/proc/self/smaps") else {
        println!("SKIP: /proc/self/smaps cannot be read");
        return;
    };
    drop(smaps);
    let (producer, files) = ring();
    let consumer = files.map().unwrap();
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let view = consumer.memory().view();
    let own = producer.memory().view();
    let addresses = [
        view.head.as_ptr() as usize,
        view.tail.as_ptr() as usize,
        view.words[view.words.len() - 1].as_ptr() as usize,
        own.head.as_ptr() as usize,
        own.tail.as_ptr() as usize,
    ];
    for address in addresses {
        assert!(vm_flags(&smaps, address).contains("dc"), "copied on fork: {address:#x}");
    }
}

/// The `VmFlags` of the mapping that `address` lies in.
fn vm_flags(smaps: &str, address: usize) -> &str {
    let mut inside = false;
    for line in smaps.lines() {
        let range = line.split(' ').next().unwrap().split_once('-');
        if let Some((Ok(from), Ok(to))) =
            range.map(|(a, b)| (usize::from_str_radix(a, 16), usize::from_str_radix(b, 16)))
        {
            inside = (from..to).contains(&address);
        } else if inside && line.starts_with("VmFlags:") {
            return line;
        }
    }
    panic!("no mapping at {address:#x}");
}

// SPEC: R-OVF-7
#[test]
fn another_process_that_is_stopped_loses_nothing() {
    // Built beside the tests, unless only these are asked for.
    let example = std::env::current_exe()
        .ok()
        .and_then(|test| Some(test.parent()?.parent()?.join("examples/logring")))
        .filter(|path| path.exists());
    let Some(example) = example else {
        println!("SKIP: the example logring is not built");
        return;
    };
    let output = Command::new(example).arg("100000").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("nothing was lost"), "{said}");
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_cause() {
    use std::error::Error;
    let geometry = Geometry::new(12, 8).unwrap_err();
    let said = geometry.to_string();
    let error = FileError::from(geometry);
    assert_eq!(error.to_string(), said);
    assert_eq!(error.source().unwrap().to_string(), said);
    let error = FileError::from(std::io::Error::from_raw_os_error(libc::EIO));
    assert!(error.to_string().starts_with("cannot read the file of a ring: "));
    assert!(error.source().is_some());
    let error = FileError::Magic(0xbad);
    assert_eq!(error.to_string(), "not the file of a ring: begins with 0xbad");
    assert!(error.source().is_none());
    let error = FileError::Version(7);
    assert_eq!(error.to_string(), "ring of version 7, which is not known");
    let error = FileError::Size { expected: 1, found: 2 };
    assert_eq!(error.to_string(), "the file of a ring has 2 bytes instead of 1");
    let error = FileError::Seals { expected: 1, found: 2 };
    assert_eq!(error.to_string(), "the file of a ring has seals 0x2, needs 0x1");
}
