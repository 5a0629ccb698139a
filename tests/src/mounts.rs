//! File systems of a test's own, on images in files.
//!
//! They need root and the programs that make them; where one is missing the
//! reason is told. After [`hide`] they are seen by this process only, and gone
//! with it.

use crate::env::Skip;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Size of an image in bytes: the least that each mkfs takes.
const IMAGE_BYTES: u64 = 400 << 20;

/// A kind of file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ext4(5).
    Ext4,
    /// xfs(5).
    Xfs,
    /// btrfs(5).
    Btrfs,
    /// tmpfs(5).
    Tmpfs,
    /// An overlay over two directories.
    Overlay,
    /// A directory, by way of a FUSE server.
    Fuse,
}

/// A file system that is mounted until this is dropped.
#[derive(Debug)]
pub struct Mount {
    dir: PathBuf,
    server: Option<Child>,
}

/// Gives this process mounts of its own. To be called before it has threads.
///
/// # Errors
/// That it may not.
pub fn hide() -> Result<(), Skip> {
    // SAFETY: takes a number.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } < 0 {
        return Err(Skip("no mounts of its own: not root".into()));
    }
    run(Command::new("mount").args(["--make-rprivate", "/"]))
}

impl Mount {
    /// Makes one in the directory `under`, mounted with `options`.
    ///
    /// # Errors
    /// Why it cannot be made here.
    pub fn new(kind: Kind, options: &str, under: &Path) -> Result<Self, Skip> {
        let (dir, image) = (under.join("mounted"), under.join("image"));
        for dir in [&dir, &under.join("lower"), &under.join("upper"), &under.join("work")] {
            std::fs::create_dir_all(dir).map_err(|e| Skip(e.to_string()))?;
        }
        let mount = |more: &[&str]| {
            let options = if options.is_empty() { "rw" } else { options };
            run(Command::new("mount").args(["-o", options]).args(more).arg(&dir))
        };
        let mut server = None;
        match kind {
            Kind::Ext4 | Kind::Xfs | Kind::Btrfs => {
                let made = File::create(&image).and_then(|file| file.set_len(IMAGE_BYTES));
                made.map_err(|e| Skip(e.to_string()))?;
                let name = format!("{kind:?}").to_lowercase();
                run(Command::new(format!("mkfs.{name}")).arg("-q").arg(&image))?;
                mount(&["-o", "loop", "-t", &name, &image.to_string_lossy()])?;
            }
            Kind::Tmpfs => mount(&["-t", "tmpfs", "tmpfs"])?,
            Kind::Overlay => {
                let of = |name| under.join(name).display().to_string();
                let dirs = [of("lower"), of("upper"), of("work")];
                let [lower, upper, work] = dirs;
                let dirs = format!("lowerdir={lower},upperdir={upper},workdir={work}");
                mount(&["-o", &dirs, "-t", "overlay", "overlay"])?;
            }
            Kind::Fuse => {
                let mut command = Command::new("bindfs");
                command.arg("-f").arg(under.join("lower")).arg(&dir);
                server = Some(serve(&mut command, &dir)?);
            }
        }
        Ok(Mount { dir, server })
    }

    /// Its top directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Else it goes with the process.
        let _ = run(Command::new("umount").arg("-l").arg(&self.dir));
        if let Some(server) = &mut self.server {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// Starts the server of `dir`, and waits until it serves.
fn serve(command: &mut Command, dir: &Path) -> Result<Child, Skip> {
    use std::os::unix::fs::MetadataExt;
    let device = || std::fs::metadata(dir).map(|meta| meta.dev()).ok();
    let before = device();
    let name = command.get_program().display().to_string();
    let why = |e| Skip(format!("{name}: {e}"));
    let mut server = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(why)?;
    let begun = Instant::now();
    while device() == before {
        if server.try_wait().is_ok_and(|status| status.is_some())
            || begun.elapsed() > Duration::from_secs(20)
        {
            return Err(Skip(format!("{command:?} serves nothing")));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(server)
}

/// Runs a program that must succeed.
fn run(command: &mut Command) -> Result<(), Skip> {
    let name = command.get_program().display().to_string();
    let output = command.output().map_err(|e| Skip(format!("{name}: {e}")))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(Skip(format!("{name}: {}", text.lines().next().unwrap_or("it fails"))))
}
