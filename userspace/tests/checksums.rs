//! The example of checksums: as a computation of its own says, for files of each length
//! and name, and what was changed is found.

#[path = "../examples/checksums.rs"]
mod checksums;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Bytes of which no piece is as another.
fn bytes(len: usize) -> Vec<u8> {
    (0..len as u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

fn run(is_check: bool, paths: &[PathBuf]) -> (bool, String) {
    let mut output = Vec::new();
    let is_good = checksums::run(is_check, paths, &mut output).unwrap();
    (is_good, String::from_utf8(output).unwrap())
}

#[test]
fn checksums_are_right_and_find_what_was_changed() {
    const PIECE: usize = 256 << 10;
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let lens = [0, 1, 4095, PIECE - 1, PIECE, PIECE + 1, 5 * PIECE, 9 * PIECE + 77];
    let names: [&[u8]; 8] =
        [b"a", b"b c", b"d\\", b"e\nf", b"\\n", b"g", b"h", "\u{e4}".as_bytes()];
    let mut paths = Vec::new();
    let mut expected = String::new();
    for (len, name) in lens.into_iter().zip(names) {
        let path = directory.path().join(OsStr::from_bytes(name));
        std::fs::write(&path, bytes(len)).unwrap();
        let shown = path.to_str().unwrap().replace('\\', "\\\\").replace('\n', "\\n");
        let mark = if shown == path.to_str().unwrap() { "" } else { "\\" };
        let sum = crc32c::crc32c(&bytes(len));
        expected.push_str(&format!("{mark}{sum:08x}  {shown}\n"));
        paths.push(path);
    }
    let (is_good, list) = run(false, &paths);
    assert!(is_good);
    assert_eq!(list, expected);

    let lists = directory.path().join("list");
    std::fs::write(&lists, &list).unwrap();
    let check = || run(true, std::slice::from_ref(&lists));
    let (is_good, told) = check();
    assert!(is_good && told.matches(": OK\n").count() == paths.len(), "{told}");
    // One bit, far inside.
    let mut spoilt = bytes(lens[7]);
    spoilt[5 * PIECE + 3] ^= 4;
    std::fs::write(&paths[7], spoilt).unwrap();
    std::fs::remove_file(&paths[0]).unwrap();
    let (is_good, told) = check();
    assert!(!is_good && told.matches(": FAILED\n").count() == 1, "{told}");
    assert_eq!((told.matches(": FAILED: No such file").count(), told.lines().count()), (1, 9));
    std::fs::write(&lists, "no checksum\n").unwrap();
    assert!(checksums::run(true, &[lists], Vec::new()).is_err());
}

#[test]
fn a_file_that_does_not_say_its_length_is_read_to_its_end() {
    let (is_good, line) = run(false, &["/proc/version".into()]);
    let sum = crc32c::crc32c(&std::fs::read("/proc/version").unwrap());
    assert_eq!((is_good, line), (true, format!("{sum:08x}  /proc/version\n")));
    let (is_good, line) = run(false, &["/proc/none".into(), "/dev/null".into()]);
    assert_eq!((is_good, &*line), (false, "00000000  /dev/null\n"));
}
