//! One of the two worlds in which each call is made: a directory, descriptors of
//! each kind, and memory. Both are built alike, and stay so as long as each call
//! does the same in both.

use crate::file::{Pipe, socket_pair};
use std::ffi::CString;
use std::fs::File;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Once;

/// Where structures, names and data begin in a world's memory, and its end,
/// behind which nothing is mapped.
pub(super) const STRUCTS: usize = 0;
pub(super) const NAMES: usize = 4096;
pub(super) const DATA: usize = 8192;
pub(super) const END: usize = DATA + DATA_BYTES;
pub(super) const DATA_BYTES: usize = 16384;
/// Room for one name.
const NAME_BYTES: usize = 64;

/// Names in the directory; the same ones follow as absolute paths.
const NAMES_HERE: [&str; 10] =
    ["f0", "f1", "n0", "n1", "n2", "d0", "d0/n3", "missing/x", "link", ""];
pub(super) const NR_NAMES: usize = 2 * NAMES_HERE.len();

/// What may be known of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    /// Calls on it may wait for another.
    Waits,
    /// A socket that waits.
    Socket,
    Other,
}

pub(super) struct World {
    pub(super) dir: PathBuf,
    fds: Vec<(&'static str, Kind, OwnedFd)>,
    memory: *mut u8,
    /// A number that no descriptor of this world has at first.
    spare: i32,
    /// A set of semaphores, and a queue of messages.
    ids: [i32; 2],
}

/// An argument, or a word of memory, before it is known in which world.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arg {
    Num(u64),
    /// The descriptor of this place.
    Fd(usize),
    /// The spare number.
    Spare,
    /// An address.
    Memory(usize),
    /// The set of semaphores.
    Semaphores,
    /// The queue of messages of msgsnd(2).
    Messages,
}

fn own(fd: i32) -> OwnedFd {
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the descriptor is new, and no one else's.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

impl World {
    /// Builds one in a new directory.
    pub(super) fn new(dir: &Path, spare: i32) -> std::io::Result<Self> {
        std::fs::create_dir_all(dir.join("d0"))?;
        for (name, bytes) in [("f0", 10_000), ("f1", 100)] {
            let pattern: Vec<u8> = (0..bytes).map(|n: u32| n as u8).collect();
            std::fs::write(dir.join(name), pattern)?;
        }
        std::os::unix::fs::symlink("f0", dir.join("link"))?;
        let mode = libc::IPC_CREAT | 0o600;
        // SAFETY: takes numbers.
        let semaphores = unsafe { libc::semget(libc::IPC_PRIVATE, 2, mode) };
        // SAFETY: takes numbers.
        let messages = unsafe { libc::msgget(libc::IPC_PRIVATE, mode) };
        let ids = [semaphores, messages];
        let mut world = World { dir: dir.to_owned(), fds: Vec::new(), memory: map(), spare, ids };
        world.open()?;
        world.write_names();
        Ok(world)
    }

    fn add(&mut self, name: &'static str, kind: Kind, fd: impl Into<OwnedFd>) {
        self.fds.push((name, kind, fd.into()));
    }

    fn open(&mut self) -> std::io::Result<()> {
        self.add("directory", Kind::Directory, File::open(&self.dir)?);
        let flags = [
            ("file", 0),
            ("append", libc::O_APPEND),
            ("sync", libc::O_DSYNC),
            ("nonblock", libc::O_NONBLOCK),
            ("direct", libc::O_DIRECT),
        ];
        for (name, flags) in flags {
            let open = File::options()
                .read(true)
                .write(true)
                .custom_flags(flags)
                .open(self.dir.join(if name == "append" { "f1" } else { "f0" }));
            // Not every file system has direct transfers.
            let file = open.or_else(|_| File::open(self.dir.join("f0")))?;
            self.add(name, Kind::File, file);
        }
        self.add("read only", Kind::File, File::open(self.dir.join("f1"))?);
        let path = File::options().read(true).custom_flags(libc::O_PATH).open(&self.dir)?;
        self.add("path", Kind::Other, path);
        for (reader, writer, flags) in [
            ("pipe", "pipe's writer", 0),
            ("quick pipe", "quick pipe's writer", libc::O_NONBLOCK),
            ("packets", "packets' writer", libc::O_DIRECT),
        ] {
            let pipe = Pipe::with_flags(flags);
            let kind = if flags & libc::O_NONBLOCK == 0 { Kind::Waits } else { Kind::Other };
            self.add(reader, kind, pipe.reader);
            self.add(writer, kind, pipe.writer);
        }
        for (near, far, kind) in [
            ("stream", "stream's peer", libc::SOCK_STREAM),
            ("datagram", "datagram's peer", libc::SOCK_DGRAM),
            ("seqpacket", "seqpacket's peer", libc::SOCK_SEQPACKET),
            ("quick", "quick's peer", libc::SOCK_STREAM | libc::SOCK_NONBLOCK),
        ] {
            let pair = socket_pair(kind);
            self.add(near, Kind::Socket, pair.0);
            self.add(far, Kind::Socket, pair.1);
        }
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let tcp = TcpStream::connect(listener.local_addr()?)?;
        let peer = listener.accept()?.0;
        listener.set_nonblocking(true)?;
        self.add("tcp", Kind::Socket, tcp);
        self.add("tcp's peer", Kind::Socket, peer);
        self.add("listener", Kind::Socket, listener);
        let (udp, peer) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
        udp.connect(peer.local_addr()?)?;
        peer.connect(udp.local_addr()?)?;
        self.add("udp", Kind::Socket, udp);
        self.add("udp's peer", Kind::Socket, peer);
        // SAFETY: takes two numbers.
        self.add("eventfd", Kind::Waits, own(unsafe { libc::eventfd(3, libc::EFD_CLOEXEC) }));
        let semaphore = libc::EFD_SEMAPHORE | libc::EFD_NONBLOCK;
        // SAFETY: as above.
        self.add("semaphore", Kind::Other, own(unsafe { libc::eventfd(900, semaphore) }));
        let clock = libc::CLOCK_MONOTONIC;
        // SAFETY: as above.
        self.add("timerfd", Kind::Waits, own(unsafe { libc::timerfd_create(clock, 0) }));
        self.add_watch();
        // SAFETY: takes a number.
        self.add("epoll", Kind::Other, own(unsafe { libc::epoll_create1(0) }));
        // SAFETY: the name can be read.
        let memory = own(unsafe { libc::memfd_create(c"m".as_ptr(), libc::MFD_ALLOW_SEALING) });
        self.add("memory", Kind::File, memory);
        for (name, minor) in [("null", 3), ("zero", 5), ("full", 7)] {
            self.add_device(name, minor)?;
        }
        self.add("/proc/version", Kind::File, File::open("/proc/version")?);
        if let Ok(dir) = File::open("/proc/self/attr") {
            // It needs a kernel with security modules.
            self.add("/proc/self", Kind::Directory, dir);
        }
        self.add_terminal();
        self.add_queue();
        let pid = std::process::id();
        // SAFETY: takes numbers.
        let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        self.add("pidfd", Kind::Other, own(pidfd as i32));
        Ok(())
    }

    /// What inotify(7) tells of the directory. Where the kernel has none it is left
    /// out of both worlds.
    fn add_watch(&mut self) {
        static TOLD: Once = Once::new();
        // SAFETY: takes a number.
        let inotify = unsafe { libc::inotify_init1(libc::IN_NONBLOCK) };
        if inotify < 0 {
            let why = std::io::Error::last_os_error();
            TOLD.call_once(|| println!("SKIP inotify: {why}"));
            return;
        }
        let (name, mask) = (self.path("."), libc::IN_CREATE | libc::IN_DELETE);
        // SAFETY: the name can be read.
        unsafe { libc::inotify_add_watch(inotify, name.as_ptr(), mask) };
        self.add("inotify", Kind::Other, own(inotify));
    }

    /// A queue of mq_overview(7), without a name, for four messages of 64 bytes.
    /// Where none can be made it is left out of both worlds.
    fn add_queue(&mut self) {
        static TOLD: Once = Once::new();
        let name = CString::new(format!("/aio2-{}-{}", std::process::id(), self.spare));
        let name = name.expect("no zero byte");
        // SAFETY: a mq_attr may be all zeros.
        let mut attr: libc::mq_attr = unsafe { std::mem::zeroed() };
        (attr.mq_maxmsg, attr.mq_msgsize) = (4, 64);
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
        // SAFETY: name and attributes can be read.
        let queue = unsafe { libc::mq_open(name.as_ptr(), flags, 0o600, &raw mut attr) };
        if queue < 0 {
            let why = std::io::Error::last_os_error();
            TOLD.call_once(|| println!("SKIP message queues: {why}"));
            return;
        }
        // SAFETY: the name can be read.
        unsafe { libc::mq_unlink(name.as_ptr()) };
        self.add("queue", Kind::Waits, own(queue));
    }

    /// A device of memory with a node of its own: what the calls do to modes and
    /// owners must not be done to those in /dev. Where none can be made it is left
    /// out of both worlds.
    fn add_device(&mut self, name: &'static str, minor: u32) -> std::io::Result<()> {
        static TOLD: Once = Once::new();
        let dir = tempfile::tempdir()?;
        let path = dir.path().join(name);
        let node = CString::new(path.as_os_str().as_encoded_bytes())?;
        let mode = libc::S_IFCHR | 0o666;
        // SAFETY: the name can be read.
        let made = match unsafe { libc::mknod(node.as_ptr(), mode, libc::makedev(1, minor)) } {
            0 => File::options().read(true).write(true).open(&path),
            _ => Err(std::io::Error::last_os_error()),
        };
        match made {
            Ok(file) => self.add(name, Kind::Other, file),
            Err(why) => TOLD.call_once(|| println!("SKIP devices: {}: {why}", path.display())),
        }
        Ok(())
    }

    fn add_terminal(&mut self) {
        let (mut master, mut slave) = (-1, -1);
        let null = std::ptr::null_mut::<u8>();
        // SAFETY: both numbers can be written; the rest is not asked for.
        let made = unsafe {
            libc::openpty(&raw mut master, &raw mut slave, null.cast(), null.cast(), null.cast())
        };
        assert_eq!(made, 0, "{}", std::io::Error::last_os_error());
        self.add("terminal's master", Kind::Waits, own(master));
        self.add("terminal", Kind::Waits, own(slave));
    }

    fn write_names(&self) {
        let absolute = format!("/proc/self/fd/{}", self.fd(0));
        for n in 0..NR_NAMES {
            let name = NAMES_HERE[n % NAMES_HERE.len()];
            let name =
                if n < NAMES_HERE.len() { name.to_owned() } else { format!("{absolute}/{name}") };
            self.write(name_at(n), name.as_bytes());
            self.write(name_at(n) + name.len(), &[0]);
        }
    }

    pub(super) fn path(&self, name: &str) -> CString {
        CString::new(self.dir.join(name).as_os_str().as_encoded_bytes()).expect("no zero byte")
    }

    pub(super) fn nr_fds(&self) -> usize {
        self.fds.len()
    }

    pub(super) fn name(&self, place: usize) -> &'static str {
        self.fds[place].0
    }

    pub(super) fn kind(&self, place: usize) -> Kind {
        self.fds[place].1
    }

    pub(super) fn fd(&self, place: usize) -> i32 {
        self.fds[place].2.as_raw_fd()
    }

    /// The place of the descriptor of this name.
    pub(super) fn place(&self, name: &str) -> usize {
        self.fds.iter().position(|fd| fd.0 == name).expect("it is there")
    }

    /// As [`World::place`], if it is there.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.fds.iter().position(|fd| fd.0 == name)
    }

    /// The other end of a descriptor, from which bytes come to it.
    pub(super) fn partner(&self, place: usize) -> Option<usize> {
        let name = self.fds[place].0;
        for end in ["'s peer", "'s writer", "'s master"] {
            if let Some(near) = name.strip_suffix(end) {
                return self.find(near);
            }
            if let Some(far) = self.find(&format!("{name}{end}")) {
                return Some(far);
            }
        }
        (name == "eventfd").then_some(place)
    }

    pub(super) fn resolve(&self, arg: Arg) -> u64 {
        match arg {
            Arg::Num(n) => n,
            Arg::Fd(place) => self.fd(place) as u64,
            Arg::Spare => self.spare as u64,
            Arg::Semaphores => self.ids[0] as u64,
            Arg::Messages => self.ids[1] as u64,
            Arg::Memory(at) => self.memory.wrapping_add(at).expose_provenance() as u64,
        }
    }

    /// Whether a result is a descriptor that the caller named.
    pub(super) fn is_spare(&self, fd: i64) -> bool {
        fd == i64::from(self.spare)
    }

    pub(super) fn write(&self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= END);
        // SAFETY: within the mapping, which no one else uses now.
        unsafe { self.memory.wrapping_add(at).copy_from(bytes.as_ptr(), bytes.len()) };
    }

    /// A copy of a part of the memory.
    pub(super) fn bytes(&self, at: usize, len: usize) -> &[u8] {
        assert!(at + len <= END);
        let first = self.memory.wrapping_add(at);
        // SAFETY: within the mapping; no call is under way.
        unsafe { std::slice::from_raw_parts(first, len) }
    }

    /// What can be seen of a descriptor: position, size, bytes to be read, flags.
    pub(super) fn look(&self, place: usize) -> [i64; 4] {
        let fd = self.fd(place);
        // SAFETY: takes numbers.
        let at = unsafe { libc::lseek(fd, 0, libc::SEEK_CUR) };
        let is_file = self.kind(place) == Kind::File;
        // SAFETY: takes a number.
        let size = if is_file { unsafe { libc::lseek(fd, 0, libc::SEEK_END) } } else { 0 };
        if is_file {
            // SAFETY: takes numbers.
            unsafe { libc::lseek(fd, at, libc::SEEK_SET) };
        }
        let mut left = 0_i32;
        // SAFETY: FIONREAD writes an int.
        unsafe { libc::ioctl(fd, libc::FIONREAD, &raw mut left) };
        // SAFETY: takes numbers.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
        let is_there = !is_file || self.name(place) == "/proc/version";
        [at, size, if is_there { 0 } else { left.into() }, flags.into()]
    }

    /// What the other end of a pipe or of a pair of sockets has got: bytes, and whether it
    /// is readable, as by an empty message it is. None of another: what goes by the network
    /// may come later.
    pub(super) fn look_at_partner(&self, place: usize) -> Option<[i64; 4]> {
        let partner = self.partner(place).filter(|partner| *partner != place)?;
        let by_network = ["tcp", "udp", "terminal"];
        if by_network.iter().any(|name| self.name(place).starts_with(name)) {
            return None;
        }
        let [_, _, left, flags] = self.look(partner);
        let mut poll = libc::pollfd { fd: self.fd(partner), events: libc::POLLIN, revents: 0 };
        // SAFETY: it is one entry; it does not wait.
        unsafe { libc::poll(&raw mut poll, 1, 0) };
        Some([i64::from(poll.revents), 0, left, flags])
    }

    /// All that can be seen of the directory.
    pub(super) fn look_at_all(&self) -> Vec<String> {
        let mut seen = Vec::new();
        for dir in [self.dir.clone(), self.dir.join("d0")] {
            for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                let Ok(meta) = entry.path().symlink_metadata() else { continue };
                let bytes = if meta.is_file() { std::fs::read(entry.path()).ok() } else { None };
                let sum = bytes.map(|bytes| crc32c(&bytes));
                let old = Some(meta.mtime()).filter(|&time| time < 1_000_000_000);
                let size = if meta.is_dir() { 0 } else { meta.len() };
                let (name, mode) = (entry.file_name(), meta.mode());
                let name = name.to_string_lossy();
                // A file that is open and has lost its name, by number.
                let name = if name.starts_with(".fuse_hidden") { "hidden" } else { &name };
                seen.push(format!("{name:?} {mode:o} {size} {} {sum:?} {old:?}", meta.nlink()));
            }
        }
        seen.sort();
        seen
    }
}

fn crc32c(bytes: &[u8]) -> u64 {
    bytes.iter().fold(7, |sum: u64, &byte| sum.wrapping_mul(31).wrapping_add(byte.into()))
}

/// Where the n-th name stands.
pub(super) fn name_at(n: usize) -> usize {
    NAMES + n * NAME_BYTES
}

/// Memory, with a page behind it that nothing is mapped at.
fn map() -> *mut u8 {
    let (null, flags) = (std::ptr::null_mut(), libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    let all = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping, at an address of the kernel's choice.
    let memory = unsafe { libc::mmap(null, END + 4096, all, flags, -1, 0) };
    assert_ne!(memory, libc::MAP_FAILED);
    let last: *mut u8 = memory.cast::<u8>().wrapping_add(END);
    // SAFETY: a page of the mapping above.
    unsafe { libc::mprotect(last.cast(), 4096, libc::PROT_NONE) };
    memory.cast()
}

impl Drop for World {
    fn drop(&mut self) {
        // SAFETY: mapped by `map`, and no call is under way.
        unsafe { libc::munmap(self.memory.cast(), END + 4096) };
        // SAFETY: takes a number; nobody else has it.
        unsafe { libc::close(self.spare) };
        let [semaphores, messages] = self.ids;
        // SAFETY: takes numbers; they are this world's.
        unsafe { libc::semctl(semaphores, 0, libc::IPC_RMID) };
        // SAFETY: as above; nothing is written.
        unsafe { libc::msgctl(messages, libc::IPC_RMID, std::ptr::null_mut()) };
        // Else the next one has another name.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

const _: () = assert!(NAMES + NR_NAMES * NAME_BYTES <= DATA);
