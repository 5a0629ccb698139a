//! The names of files behind descriptors, as requests use them.
//!
//! A name is asked for when a request has ended, by the thread that hands it in:
//! later the descriptor may be closed, or another file's. To look at each request
//! whether it is costs more than a cached read may cost more by being recorded, so
//! that a descriptor which many requests in a row have found to be the same file is
//! looked at again now and then only.

use std::collections::HashMap;
use std::fs::read_link;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use zerocopy::IntoBytes;

/// So many requests look each whether the descriptor is the file that it was.
const DOUBTED: u32 = 32;
/// Behind them, one of so many does.
const SELDOM: u32 = 32;

/// Names that are remembered; beyond, they are written again when they come again.
const MOST: usize = 1 << 14;

/// Device and inode.
pub(crate) type File = (u64, u64);

/// Which names there are, and which of them are not written yet.
#[derive(Debug, Default)]
pub(crate) struct Names {
    known: HashMap<i32, Known>,
    numbers: HashMap<Vec<u8>, u32>,
    /// How many numbers were given out.
    given: u32,
    new: Vec<u8>,
    /// The descriptor of the last request, which is often that of the next one.
    last: Option<(i32, Known)>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    file: File,
    number: u32,
    /// Requests since it was another file.
    uses: u32,
}

impl Names {
    /// The number of the name of what `fd` is now; 0 if it has none.
    pub(crate) fn of(&mut self, fd: i32) -> u32 {
        if fd < 0 {
            return 0;
        }
        let mut known = match self.last {
            Some((last, known)) if last == fd => Some(known),
            last => {
                self.known.extend(last);
                self.known.get(&fd).copied()
            }
        };
        let looks = known.is_none_or(|k| k.uses < DOUBTED || k.uses.is_multiple_of(SELDOM));
        if looks {
            // What is closed already is what it was.
            let file = file(fd).or(known.map(|known| known.file));
            if file != known.map(|known| known.file) {
                known = file.map(|file| Known { file, number: self.number(fd), uses: 0 });
            }
        }
        self.last = known.map(|known| (fd, Known { uses: known.uses.wrapping_add(1), ..known }));
        known.map_or(0, |known| known.number)
    }

    /// Moves what is not written yet behind `to`: a payload of names.
    pub(crate) fn take_new(&mut self, to: &mut Vec<u8>) {
        to.append(&mut self.new);
    }

    fn number(&mut self, fd: i32) -> u32 {
        let Ok(name) = read_link(format!("/proc/self/fd/{fd}")) else { return 0 };
        let name = name.as_os_str().as_bytes().to_vec();
        if let Some(&number) = self.numbers.get(&name) {
            return number;
        }
        self.given = self.given.wrapping_add(1).max(1);
        self.new.extend_from_slice([self.given, name.len() as u32].as_bytes());
        self.new.extend_from_slice(&name);
        self.new.resize(self.new.len().next_multiple_of(8), 0);
        if self.numbers.len() >= MOST {
            self.numbers.clear();
        }
        self.numbers.insert(name, self.given);
        self.given
    }
}

/// The file that `fd` is, if it is open.
pub(crate) fn file(fd: i32) -> Option<File> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `stat` can be written.
    if unsafe { libc::fstat(fd, stat.as_mut_ptr()) } < 0 {
        return None;
    }
    // SAFETY: fstat has filled it in.
    let stat = unsafe { stat.assume_init() };
    #[allow(clippy::useless_conversion)] // on i686 it has 32 bits
    Some((stat.st_dev, stat.st_ino.into()))
}
