//! What CACHE tells, and what its hints do to the page cache. SPEC: section 8.

use crate::context::{Answer, Fixture, Iocb, address, file_of, syscall};
use aio2_abi::attr;
use memmap2::Mmap;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write, pipe};
use std::os::fd::AsRawFd;
use zerocopy::IntoBytes;

const PAGE: usize = 4096;

/// Which of a file's pages are in the page cache.
fn cached(file: &File) -> Vec<bool> {
    // SAFETY: nobody changes the file.
    let map = unsafe { Mmap::map(file) }.unwrap();
    let mut pages = vec![0_u8; map.len() / PAGE];
    let address = map.as_ptr().cast_mut().cast();
    // SAFETY: there is a byte for each page of the mapping.
    let result = unsafe { libc::mincore(address, map.len(), pages.as_mut_ptr()) };
    assert_eq!(result, 0);
    pages.iter().map(|page| page & 1 == 1).collect()
}

/// A file of four pages on the disk that are in the page cache, too.
fn four_pages() -> File {
    let mut file = file_of(b"");
    // One by one, so that they can be dropped one by one.
    (0..4).for_each(|_| file.write_all(&[7; PAGE]).unwrap());
    file.sync_all().unwrap();
    file
}

/// Whether the file system here drops what it is advised to; else it says that
/// a test is skipped.
fn drops() -> bool {
    let file = four_pages();
    // SAFETY: takes numbers.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 4096, 4096, libc::POSIX_FADV_DONTNEED) };
    let drops = cached(&file) == [true, false, true, true];
    if !drops {
        println!("SKIP: no single page is dropped from the page cache here");
    }
    drops
}

fn with_hint(request: Iocb, hint: u32) -> Iocb {
    let payload = attr::Cache { hint, resv: 0 };
    request.attr_with(attr::CACHE, attr::AttrFlags::RETURN, payload.as_bytes())
}

fn pread(file: &File, buffer: &mut [u8], offset: u64) -> Iocb {
    let args = [file.as_raw_fd() as u64, address(buffer), buffer.len() as u64, offset];
    syscall(libc::SYS_pread64, &args)
}

fn read(file: &impl AsRawFd, buffer: &mut [u8]) -> Iocb {
    syscall(libc::SYS_read, &[file.as_raw_fd() as u64, address(buffer), buffer.len() as u64])
}

#[test]
fn drop_drops_the_bytes_that_were_moved_and_no_others() {
    if !drops() {
        return;
    }
    let f = Fixture::new();
    let mut file = four_pages();
    file.seek(SeekFrom::Start(2 * PAGE as u64)).unwrap();
    let (mut page, mut nothing) = ([0; PAGE], []);
    let is_left = |request, hint, moved| {
        f.submit([with_hint(request, hint)]);
        assert_eq!(f.next().res, moved);
        cached(&file)
    };
    let all = [true; 4];
    let (drop, whole) = (attr::CACHE_DROP, PAGE as i64);
    assert_eq!(is_left(pread(&file, &mut page, 4096), attr::CACHE_NORMAL, whole), all);
    assert_eq!(is_left(pread(&file, &mut page, 4096), attr::CACHE_KEEP, whole), all);
    assert_eq!(is_left(pread(&file, &mut nothing, 4096), drop, 0), all);
    let at_an_offset = [true, false, true, true];
    assert_eq!(is_left(pread(&file, &mut page, 4096), drop, whole), at_an_offset);
    let at_the_position = [true, false, false, true];
    assert_eq!(is_left(read(&file, &mut page), drop, whole), at_the_position);
    assert_eq!(is_left(pread(&file, &mut page, 0), drop, whole), [false, false, false, true]);
}

/// SPEC: R-ATTR-3, R-CACHE-2
#[test]
fn a_write_has_no_hits_to_tell() {
    let f = Fixture::new();
    let (file, mut data) = (file_of(b""), [7; 4]);
    let flags = attr::AttrFlags::REQUIRED | attr::AttrFlags::RETURN;
    let write = Iocb { nr: libc::SYS_write as u32, ..read(&file, &mut data) };
    f.submit([write.attr_with(attr::CACHE, flags, &[])]);
    let answer = f.next();
    assert_eq!(answer.res, -i64::from(libc::EOPNOTSUPP));
    assert_eq!(answer.status(attr::CACHE), -libc::EOPNOTSUPP);
    let write = Iocb { nr: libc::SYS_write as u32, ..read(&file, &mut data) };
    f.submit([with_hint(write, attr::CACHE_KEEP)]);
    let answer = f.next();
    assert_eq!((answer.res, answer.payload(attr::CACHE)), (4, Some(attr::CacheReturn::default())));
}

/// SPEC: R-RUN-4
#[test]
fn a_read_goes_on_behind_what_was_in_the_page_cache() {
    if !drops() {
        return;
    }
    let f = Fixture::new();
    for at_the_position in [true, false] {
        let mut file = four_pages();
        // SAFETY: takes numbers.
        unsafe { libc::posix_fadvise(file.as_raw_fd(), 4096, 4096, libc::POSIX_FADV_DONTNEED) };
        file.rewind().unwrap();
        let mut buffer = [0; 4 * PAGE];
        let request = match at_the_position {
            true => read(&file, &mut buffer),
            false => pread(&file, &mut buffer, 0),
        };
        f.submit([request]);
        assert_eq!((f.next().res, buffer), (4 * PAGE as i64, [7; 4 * PAGE]));
    }
}

/// SPEC: R-CACHE-2
#[test]
fn a_file_that_is_never_read_without_waiting_tells_no_hits() {
    let f = Fixture::new();
    let (file, mut buffer) = (File::open("/proc/self/status").unwrap(), [0; 4]);
    f.submit([pread(&file, &mut buffer, 0).attr(attr::CACHE)]);
    let answer = f.next();
    assert_eq!((answer.res, answer.status(attr::CACHE)), (4, -libc::EOPNOTSUPP));
}

/// SPEC: R-CACHE-1, R-CACHE-2
#[test]
fn each_read_of_a_batch_is_told_of_its_own_file() {
    let f = Fixture::new();
    let file = file_of(&[7; 4]);
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(&[7; 8]).unwrap();
    let mut buffers = [[0; 4]; 4];
    let [a, b, c, d] = &mut buffers;
    let requests = [pread(&file, a, 0), read(&reader, b), pread(&file, c, 0), read(&reader, d)];
    f.submit(requests.map(|request| request.attr(attr::CACHE)));
    let status = |answer: Answer| (answer.res, answer.status(attr::CACHE));
    let (told, untold) = ((4, 0), (4, -libc::EOPNOTSUPP));
    assert_eq!(
        f.next_n(4).into_iter().map(status).collect::<Vec<_>>(),
        [told, untold, told, untold]
    );
}
