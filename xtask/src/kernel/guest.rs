//! What the guest is given: static programs and a file system, in an initrd.

use super::Workshop;
use anyhow::{Context, Result, bail};
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A target must be named, or the flags would go to build scripts too.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// Size of the file system; sparse on the host and in the guest.
const DISK_BYTES: u64 = 256 << 20;

/// A program for the guest: a package of the workspace, and a binary of it.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    pub package: &'static str,
    pub binary: &'static str,
}

/// The guest's first process.
const INIT: Program = Program { package: "aio2-guest", binary: "init" };

/// Builds programs without shared libraries, with the profile for releases;
/// returns where they are.
pub fn build(shop: &Workshop, programs: &[Program]) -> Result<Vec<PathBuf>> {
    // A directory of its own: other flags would rebuild everything each time.
    let target_dir = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => PathBuf::from(dir).join("guest"),
        None => shop.root.join("target/guest"),
    };
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(shop.root).args(["build", "--quiet", "--release", "--target", TARGET]);
    cargo.arg("--target-dir").arg(&target_dir);
    for program in programs {
        cargo.args(["-p", program.package, "--bin", program.binary]);
    }
    cargo
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("RUSTFLAGS", "-C target-feature=+crt-static -C strip=debuginfo");
    if !cargo.status()?.success() {
        bail!("the guest's programs cannot be built; what cargo said stands above");
    }
    let dir = target_dir.join(TARGET).join("release");
    Ok(programs.iter().map(|p| dir.join(p.binary)).collect())
}

/// Makes an initrd in `dir` that runs `commands`, a line each, with `programs`
/// and the static executables `more` in `/bin`, and has the chunks of a `disk`.
pub fn initrd(
    shop: &Workshop,
    dir: &Path,
    programs: &[Program],
    more: &[PathBuf],
    commands: &[String],
    disk: &[u8],
) -> Result<PathBuf> {
    let all: Vec<Program> = [&[INIT], programs].concat();
    let root = dir.join("root");
    for empty in ["bin", "dev", "mnt", "proc", "sys", "tmp"] {
        fs::create_dir_all(root.join(empty))?;
    }
    for (program, file) in all.iter().zip(build(shop, &all)?) {
        // The kernel looks for the first process by this name.
        let dir = if program.binary == INIT.binary { "." } else { "bin" };
        let to = root.join(dir).join(program.binary);
        fs::copy(&file, &to).with_context(|| file.display().to_string())?;
    }
    for file in more {
        fs::copy(file, root.join("bin").join(file.file_name().unwrap_or_default()))
            .with_context(|| file.display().to_string())?;
    }
    fs::write(root.join(&aio2_guest::COMMANDS[1..]), commands.join("\n") + "\n")?;
    fs::write(root.join(&aio2_guest::IMAGE[1..]), disk)?;
    let initrd = dir.join("initrd.gz");
    pack(&root, &initrd)?;
    Ok(initrd)
}

/// Packs a directory as the kernel unpacks it: cpio, compressed.
fn pack(root: &Path, to: &Path) -> Result<()> {
    // The names of directories before those in them.
    let script = "find . | sort | cpio -o -H newc --quiet -R 0:0 --reproducible | gzip -1n";
    let packed = Command::new("bash")
        .args(["-o", "pipefail", "-c", script])
        .current_dir(root)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    if !packed.status.success() {
        bail!("cpio and gzip cannot pack {}", root.display());
    }
    fs::File::create(to)?.write_all(&packed.stdout)?;
    Ok(())
}

/// An empty ext4 for the guest's disk, made in `dir`: its chunks that are not
/// zero, as [`aio2_guest::chunk`] has them.
pub fn file_system(dir: &Path) -> Result<Vec<u8>> {
    let image = dir.join("disk.img");
    fs::File::create(&image)?.set_len(DISK_BYTES)?;
    let mke2fs = if Path::new("/sbin/mke2fs").exists() { "/sbin/mke2fs" } else { "mke2fs" };
    let made = Command::new(mke2fs).args(["-q", "-F", "-t", "ext4"]).arg(&image).output()?;
    if !made.status.success() {
        bail!("mke2fs {}: {}", image.display(), String::from_utf8_lossy(&made.stderr));
    }
    let mut file = fs::File::open(&image)?;
    let mut chunk = [0; aio2_guest::CHUNK];
    let mut chunks = Vec::new();
    for at in (0..DISK_BYTES).step_by(chunk.len()) {
        file.read_exact(&mut chunk)?;
        if chunk.iter().any(|b| *b != 0) {
            chunks.extend(aio2_guest::chunk(at, &chunk));
        }
    }
    Ok(chunks)
}
