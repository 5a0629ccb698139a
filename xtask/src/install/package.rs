//! `cargo xtask package`: Debian packages of what `cargo xtask install` installs.

use crate::install;
use anyhow::{Context, Result, ensure};
use std::fmt::Write;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use xshell::{Shell, cmd};

/// What to package, and where to.
#[derive(clap::Args)]
pub struct Args {
    /// Where the packages go
    #[arg(long, default_value = "target/debian")]
    out: PathBuf,
    /// Cargo's profile to build with
    #[arg(long, default_value = "dist")]
    profile: String,
    /// The engine for fio too: fetches the source of the fio that is installed
    #[arg(long)]
    fio: bool,
}

/// A package: each path that begins with one of its own is in it.
struct Package {
    name: &'static str,
    section: &'static str,
    files: &'static [&'static str],
    relations: &'static str,
    about: &'static str,
    more: &'static str,
}

const LIBRARY: &str = "libaio2-1";

/// In the order in which a path is looked for.
const PACKAGES: [Package; 4] = [
    Package {
        name: LIBRARY,
        section: "libs",
        files: &["usr/lib/libaio2.so.1"],
        relations: "",
        about: "asynchronous system calls with attributes, for C",
        more: "The shared library. Events arrive in a ring that any number of threads\n \
               reap without a lock; the calls are run by the kernel, where it has AIO2,\n \
               and by the library itself elsewhere.",
    },
    Package {
        name: "libaio2-dev",
        section: "libdevel",
        files: &[
            "usr/include",
            "usr/lib/libaio2",
            "usr/lib/pkgconfig",
            "usr/share/man/man2",
            "usr/share/man/man3",
        ],
        relations: "Depends: libaio2-1 (= VERSION)\n",
        about: "asynchronous system calls with attributes, development",
        more: "Headers, archive and manual pages of libaio2, and the file for pkg-config.",
    },
    Package {
        name: "aio2-compat",
        section: "libs",
        files: &["usr/lib/aio2", "usr/share/man/man7/aio2-"],
        relations: "Suggests: fio\n",
        about: "libaio and POSIX AIO over AIO2",
        more: "Libraries that take the place of libaio and of the C library's POSIX AIO,\n \
               so that programs which use them run on AIO2 without being built again.",
    },
    Package {
        name: "aio2",
        section: "utils",
        files: &["usr/bin", "usr/share"],
        relations: "Recommends: aio2-compat\n",
        about: "asynchronous system calls with attributes, command",
        more: "Copies trees, runs programs on AIO2 and reports what they did, and runs\n \
               single calls with attributes.",
    },
];

const MAINTAINER: &str = "The AIO2 authors <aio2@example.org>";

pub fn run(args: &Args) -> Result<()> {
    let sh = Shell::new()?;
    let root = crate::root();
    let out = root.join(&args.out);
    fs::create_dir_all(&out)?;
    let scratch = tempfile::tempdir()?;
    let all = scratch.path().join("all");
    install::run(&install::Args {
        prefix: "/usr".into(),
        destdir: all.clone(),
        profile: args.profile.clone(),
        fio: args.fio,
    })?;
    let version = env!("CARGO_PKG_VERSION");
    let architecture = cmd!(sh, "dpkg --print-architecture").quiet().read()?;
    let dates = cmd!(sh, "git -C {root} log -1 --format=%cD").quiet().read()?;
    for path in files(&all)? {
        let told = path.strip_prefix(&all)?.to_string_lossy().into_owned();
        let package = PACKAGES.iter().find(|p| p.files.iter().any(|own| told.starts_with(own)));
        let package = package.with_context(|| format!("{told} is in no package"))?;
        let to = scratch.path().join(package.name).join(&told);
        fs::create_dir_all(to.parent().context("a file has a directory")?)?;
        fs::rename(&path, &to)?;
        finish(&sh, &to)?;
    }
    for package in &PACKAGES {
        let dir = scratch.path().join(package.name);
        documents(&sh, root, package, &dir, version, &dates)?;
        control(&sh, scratch.path(), package, &dir, version, &architecture)?;
        let deb = out.join(format!("{}_{version}_{architecture}.deb", package.name));
        cmd!(sh, "dpkg-deb --root-owner-group --build {dir} {deb}").quiet().run()?;
    }
    Ok(())
}

/// All that is below a directory and is none.
fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(files(&entry.path())?);
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Strips a binary, compresses a page, and gives a file the mode that it has to
/// have.
fn finish(sh: &Shell, path: &Path) -> Result<()> {
    if path.is_symlink() {
        return Ok(());
    }
    let mut magic = [0; 4];
    let is_elf = fs::File::open(path)?.read(&mut magic)? == 4 && magic == *b"\x7fELF";
    let is_program = path.parent().is_some_and(|dir| dir.ends_with("bin"));
    fs::set_permissions(path, fs::Permissions::from_mode(if is_program { 0o755 } else { 0o644 }))?;
    if is_elf {
        let sections = ["--remove-section=.comment", "--remove-section=.note"];
        cmd!(sh, "strip --strip-unneeded {sections...} {path}").quiet().run()?;
    } else if path.extension().is_some_and(|end| end == "a") {
        cmd!(sh, "strip --strip-debug {path}").quiet().run()?;
    } else if path.components().any(|part| part.as_os_str() == "man") {
        cmd!(sh, "gzip -9n {path}").quiet().run()?;
    }
    Ok(())
}

/// Copyright and changelog.
fn documents(
    sh: &Shell,
    root: &Path,
    package: &Package,
    dir: &Path,
    version: &str,
    date: &str,
) -> Result<()> {
    let doc = dir.join("usr/share/doc").join(package.name);
    fs::create_dir_all(&doc)?;
    let mit = fs::read_to_string(root.join("LICENSES/MIT.txt"))?;
    let mit: String = mit
        .lines()
        .map(|line| match line.trim() {
            "" => " .\n".into(),
            line => format!(" {line}\n"),
        })
        .collect();
    let copyright = format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
         Upstream-Name: AIO2\n\nFiles: *\nCopyright: The AIO2 authors\n\
         License: Expat or Apache-2.0\n\nFiles: abi/include/linux/aio2.h\n\
         Copyright: The AIO2 authors\nLicense: GPL-2 with Linux-syscall-note\n\n\
         License: Expat\n{mit}\nLicense: Apache-2.0\n \
         See /usr/share/common-licenses/Apache-2.0.\n\n\
         License: GPL-2 with Linux-syscall-note\n \
         See /usr/share/common-licenses/GPL-2. User programs that use kernel services by\n \
         normal system calls are not derived works of the kernel.\n"
    );
    fs::write(doc.join("copyright"), copyright)?;
    let changelog = doc.join("changelog");
    fs::write(
        &changelog,
        format!(
            "aio2 ({version}) unstable; urgency=medium\n\n  * See CHANGELOG.md of the source.\n\n \
             -- {MAINTAINER}  {date}\n"
        ),
    )?;
    cmd!(sh, "gzip -9n {changelog}").quiet().run()?;
    Ok(())
}

/// What dpkg reads: the description, what is needed, checksums.
fn control(
    sh: &Shell,
    scratch: &Path,
    package: &Package,
    dir: &Path,
    version: &str,
    architecture: &str,
) -> Result<()> {
    let meta = dir.join("DEBIAN");
    fs::create_dir_all(&meta)?;
    let (mut bytes, mut sums) = (0, String::new());
    let (mut binaries, all) = (Vec::new(), files(&dir.join("usr"))?);
    for path in &all {
        let told = path.strip_prefix(dir)?.to_string_lossy().into_owned();
        bytes += path.symlink_metadata()?.len();
        if path.is_symlink() {
            continue;
        }
        let sum = cmd!(sh, "md5sum {path}").quiet().read()?;
        let sum = sum.split(' ').next().unwrap_or_default();
        writeln!(sums, "{sum}  {told}")?;
        if told.contains(".so") || told.starts_with("usr/bin/") {
            binaries.push(path.clone());
        }
    }
    fs::write(meta.join("md5sums"), sums)?;
    let mut relations = package.relations.replace("VERSION", version);
    if !binaries.is_empty() && package.name != "libaio2-dev" {
        // It wants a source package around it.
        let around = scratch.join("debian");
        fs::create_dir_all(&around)?;
        fs::write(around.join("control"), "Source: aio2\n\nPackage: aio2\nArchitecture: any\n")?;
        let sh = sh.clone();
        sh.change_dir(scratch);
        let needed = cmd!(sh, "dpkg-shlibdeps -O --ignore-missing-info {binaries...}")
            .quiet()
            .ignore_stderr()
            .read()?;
        let needed = needed.trim().strip_prefix("shlibs:Depends=").unwrap_or_default().to_owned();
        ensure!(!needed.is_empty(), "{} needs no library, not even the C library", package.name);
        writeln!(relations, "Depends: {needed}")?;
    }
    if package.name == LIBRARY {
        fs::write(meta.join("shlibs"), format!("libaio2 1 {LIBRARY} (>= {version})\n"))?;
        fs::write(meta.join("triggers"), "activate-noawait ldconfig\n")?;
    }
    let Package { name, section, about, more, .. } = package;
    let control = format!(
        "Package: {name}\nSource: aio2\nVersion: {version}\nArchitecture: {architecture}\n\
         Maintainer: {MAINTAINER}\nInstalled-Size: {}\n{relations}Section: {section}\n\
         Priority: optional\nDescription: {about}\n {more}\n",
        bytes.div_ceil(1024) + 4 * all.len() as u64
    );
    fs::write(meta.join("control"), control)?;
    for path in files(&meta)? {
        fs::set_permissions(path, fs::Permissions::from_mode(0o644))?;
    }
    // Directories of a temporary one are for their owner only.
    let each = "{}";
    cmd!(sh, "find {dir} -type d -exec chmod 755 {each} +").quiet().run()?;
    Ok(())
}
