//! Files.

use super::ended::{all, plain, read};
#[cfg(any(feature = "tokio", feature = "futures-io"))]
use super::pump::Pump;
use crate::future::Handle;
use crate::submit::{Dir, Op, SharedFd};
use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A file whose operations are futures of a driver.
///
/// Methods that end in `_at` neither use nor move the file's position. The others
/// begin where the one before has ended; a file has one position for reading and
/// writing, which is its own and not the descriptor's.
///
/// ```
/// use aio2::{Context, Driver, io::File};
///
/// let mut driver = Driver::new(Context::new()?)?;
/// let handle = driver.handle();
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("log");
/// driver.block_on(async {
///     let file = File::create(&handle, &path).await?;
///     file.write_all_at(b"one record".to_vec(), 0).await.0?;
///     file.sync_data().await?;
///     let (read, bytes) = file.read_exact_at(vec![0; 3], 0).await;
///     read?;
///     assert_eq!(bytes, b"one");
///     Ok::<(), std::io::Error>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct File {
    pub(super) handle: Handle<Vec<u8>>,
    pub(super) fd: SharedFd,
    #[cfg(any(feature = "tokio", feature = "futures-io"))]
    pub(super) pump: Pump,
    pub(super) position: u64,
}

impl File {
    /// Opens a file for reading.
    ///
    /// # Errors
    /// As openat(2).
    pub async fn open(handle: &Handle<Vec<u8>>, path: impl AsRef<Path>) -> io::Result<Self> {
        File::open_with(handle, path, OFlags::RDONLY, Mode::empty()).await
    }

    /// Opens a file for reading and writing, which is made if it is not there, and
    /// emptied if it is.
    ///
    /// # Errors
    /// As openat(2).
    pub async fn create(handle: &Handle<Vec<u8>>, path: impl AsRef<Path>) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC;
        File::open_with(handle, path, flags, Mode::from_raw_mode(0o666)).await
    }

    /// Opens a file with flags and permissions, as openat(2).
    ///
    /// # Errors
    /// As openat(2); EINVAL if the path has a byte 0.
    pub async fn open_with(
        handle: &Handle<Vec<u8>>,
        path: impl AsRef<Path>,
        flags: OFlags,
        mode: Mode,
    ) -> io::Result<Self> {
        let path = CString::new(path.as_ref().as_os_str().as_bytes())?;
        let opened = handle.start(Op::openat(Dir::Cwd, path, flags, mode)).await;
        Ok(File::over(handle, plain(opened)?))
    }

    /// A file that is open already.
    pub fn over(handle: &Handle<Vec<u8>>, fd: impl Into<SharedFd>) -> Self {
        File {
            handle: handle.clone(),
            fd: fd.into(),
            #[cfg(any(feature = "tokio", feature = "futures-io"))]
            pump: Pump::default(),
            position: 0,
        }
    }

    /// Reads at `offset` at most as many bytes as the buffer has; how many.
    pub async fn read_at(&self, buffer: Vec<u8>, offset: u64) -> (io::Result<usize>, Vec<u8>) {
        read(self.handle.start(Op::read_at(&self.fd, buffer, offset)).await)
    }

    /// Fills the buffer from `offset` on; UnexpectedEof if the file ends before.
    pub async fn read_exact_at(&self, buffer: Vec<u8>, offset: u64) -> (io::Result<()>, Vec<u8>) {
        all(self.handle.start(Op::read_at(&self.fd, buffer, offset).full()).await)
    }

    /// Writes all of the buffer at `offset`.
    pub async fn write_all_at(&self, buffer: Vec<u8>, offset: u64) -> (io::Result<()>, Vec<u8>) {
        all(self.handle.start(Op::write_at(&self.fd, buffer, offset).full()).await)
    }

    /// Reads at the position, and moves it.
    pub async fn read(&mut self, buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        let (result, buffer) = self.read_at(buffer, self.position).await;
        self.position += result.as_ref().map_or(0, |bytes| *bytes as u64);
        (result, buffer)
    }

    /// Writes all of the buffer at the position, and moves it.
    pub async fn write_all(&mut self, buffer: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
        let bytes = buffer.len() as u64;
        let (result, buffer) = self.write_all_at(buffer, self.position).await;
        self.position += result.as_ref().map_or(0, |()| bytes);
        (result, buffer)
    }

    /// Moves the position to `offset` bytes from the beginning.
    pub fn seek(&mut self, offset: u64) {
        self.position = offset;
    }

    /// Makes data and metadata durable: fsync(2).
    ///
    /// # Errors
    /// As fsync(2).
    pub async fn sync_all(&self) -> io::Result<()> {
        plain(self.handle.start(Op::fsync(&self.fd)).await)
    }

    /// Makes the data durable: fdatasync(2).
    ///
    /// # Errors
    /// As fdatasync(2).
    pub async fn sync_data(&self) -> io::Result<()> {
        plain(self.handle.start(Op::fdatasync(&self.fd)).await)
    }

    /// Sets its length in bytes: ftruncate(2).
    ///
    /// # Errors
    /// As ftruncate(2).
    pub async fn set_len(&self, bytes: u64) -> io::Result<()> {
        plain(self.handle.start(Op::ftruncate(&self.fd, bytes)).await)
    }

    /// Its length in bytes.
    ///
    /// # Errors
    /// As statx(2).
    pub async fn len(&self) -> io::Result<u64> {
        let path = CString::default();
        let (dir, flags) = (Dir::Fd(self.fd.clone()), AtFlags::EMPTY_PATH);
        let found = self.handle.start(Op::statx(dir, path, flags, StatxFlags::SIZE)).await;
        Ok(plain(found)?.stx_size)
    }
}
