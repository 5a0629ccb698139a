//! Checksums of files, as sha256sum(1) writes and checks them, by CRC-32C.
//!
//!     cargo run --release --example checksums -- [-c] FILE...
//!
//! Each line has the checksum and the name of a file. With `-c` such lines are read
//! from the files, and each is compared: status 1 if one differs or cannot be read.
//!
//! Whoever moves the bytes computes the checksum on the way, by an attribute of the
//! read: the program itself never looks at them. Several files are read at once, and
//! several pieces of each; the lines come in the order of the names.

use aio2::io::File;
use aio2::{Context, Driver, Handle, Op, SharedFd};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What is read at once, in bytes.
const PIECE_BYTES: u64 = 256 << 10;
/// How many files are read at once, and how many pieces of each.
const FILES: usize = 8;
const PIECES: usize = 4;

/// Reads at most `len` bytes at `at`, all of them or none if it is to be `whole`: how
/// many there were, and their checksum.
async fn piece(
    handle: &Handle<Vec<u8>>,
    fd: &SharedFd,
    at: u64,
    len: u64,
    whole: bool,
) -> io::Result<(usize, u32)> {
    let read = Op::read_at(fd, vec![0; len as usize], at).checksum();
    let done = handle.run(if whole { read.full() } else { read }).await;
    let bytes = done.bytes()?;
    let sum = match (done.checksum().handled(), done.op.buffer()) {
        (Some(sum), _) => sum.crc32c,
        // An implementation may have no checksums.
        (None, read) => crc32c::crc32c(read.and_then(|read| read.get(..bytes)).unwrap_or_default()),
    };
    Ok((bytes, sum))
}

/// The checksum of a file.
///
/// # Errors
/// Of opening or reading it; UnexpectedEof if it becomes shorter meanwhile.
pub async fn checksum(handle: &Handle<Vec<u8>>, path: &Path) -> io::Result<u32> {
    let file = File::open(handle, path).await?;
    let len = file.len().await?;
    let offsets = (0..len).step_by(PIECE_BYTES as usize);
    let pieces = offsets.map(|at| piece(handle, file.fd(), at, PIECE_BYTES.min(len - at), true));
    let mut pieces = stream::iter(pieces).buffered(PIECES);
    let (mut sum, mut at) = (0, 0);
    while let Some((bytes, next)) = pieces.try_next().await? {
        sum = crc32c::crc32c_combine(sum, next, bytes);
        at += bytes as u64;
    }
    // A file that grows has more, and one of /proc(5) does not say how much.
    loop {
        let (bytes, next) = piece(handle, file.fd(), at, PIECE_BYTES, false).await?;
        if bytes == 0 {
            return Ok(sum);
        }
        sum = crc32c::crc32c_combine(sum, next, bytes);
        at += bytes as u64;
    }
}

/// Checksums of all of them, in order.
async fn each<'a, T>(
    handle: &Handle<Vec<u8>>,
    files: impl IntoIterator<Item = (&'a Path, T)>,
    mut take: impl FnMut(&Path, T, io::Result<u32>) -> io::Result<()>,
) -> io::Result<()> {
    let files = files.into_iter();
    let sums = files.map(async |(path, more)| (path, more, checksum(handle, path).await));
    let mut sums = stream::iter(sums).buffered(FILES);
    while let Some((path, more, sum)) = sums.next().await {
        take(path, more, sum)?;
    }
    Ok(())
}

/// A line: the checksum, and the name; one with newlines or backslashes is written with
/// escapes, behind a backslash.
fn line(sum: u32, path: &Path) -> Vec<u8> {
    let name = path.as_os_str().as_bytes();
    let mut line = Vec::new();
    if name.iter().any(|byte| matches!(byte, b'\\' | b'\n')) {
        line.push(b'\\');
    }
    line.extend(format!("{sum:08x}  ").into_bytes());
    for byte in name {
        match byte {
            b'\\' => line.extend(b"\\\\"),
            b'\n' => line.extend(b"\\n"),
            byte => line.push(*byte),
        }
    }
    line.push(b'\n');
    line
}

/// What a line says.
fn parse(line: &[u8]) -> Option<(u32, PathBuf)> {
    let (line, has_escapes) = line.strip_prefix(b"\\").map_or((line, false), |l| (l, true));
    let (sum, name) = line.split_at_checked(8)?;
    let sum = u32::from_str_radix(str::from_utf8(sum).ok()?, 16).ok()?;
    let mut bytes = name.strip_prefix(b"  ")?.iter();
    let mut name = Vec::new();
    while let Some(byte) = bytes.next() {
        name.push(match byte {
            b'\\' if has_escapes => match bytes.next()? {
                b'n' => b'\n',
                b'\\' => b'\\',
                _ => return None,
            },
            byte => *byte,
        });
    }
    Some((sum, OsString::from_vec(name).into()))
}

/// What comes of one: whether all went well.
///
/// # Errors
/// Of the context, of writing, or of reading a list.
pub fn run(
    is_check: bool,
    paths: &[PathBuf],
    mut output: impl Write,
) -> Result<bool, Box<dyn Error>> {
    let mut driver = Driver::new(Context::new()?)?;
    let handle = driver.handle();
    let mut is_good = true;
    if !is_check {
        let files = paths.iter().map(|path| (&**path, ()));
        driver.block_on(each(&handle, files, |path, (), sum| {
            match sum {
                Ok(sum) => return output.write_all(&line(sum, path)),
                Err(error) => eprintln!("{}: {error}", path.display()),
            }
            is_good = false;
            Ok(())
        }))??;
        return Ok(is_good);
    }
    for list in paths {
        let text = std::fs::read(list).map_err(|error| format!("{}: {error}", list.display()))?;
        let lines: Option<Vec<_>> =
            text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(parse).collect();
        let lines = lines.ok_or(format!("{}: not a list of checksums", list.display()))?;
        let files = lines.iter().map(|(sum, path)| (&**path, *sum));
        driver.block_on(each(&handle, files, |path, expected, sum| {
            let what = match sum {
                Ok(sum) if sum == expected => "OK".into(),
                Ok(_) => "FAILED".into(),
                Err(error) => format!("FAILED: {error}"),
            };
            is_good &= what == "OK";
            writeln!(output, "{}: {what}", path.display())
        }))??;
    }
    Ok(is_good)
}

#[allow(dead_code)] // the test runs by itself
fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let is_check = args.first().is_some_and(|first| first.as_os_str() == "-c");
    if is_check {
        args.remove(0);
    }
    if args.is_empty() {
        return Err("usage: checksums [-c] FILE...".into());
    }
    let is_good = run(is_check, &args, io::stdout().lock())?;
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
