//! What the steps need of the system, and where Debian has it.

use anyhow::Result;
use std::fmt;
use std::path::{Path, PathBuf};
use xshell::{Shell, cmd};

/// A file that is there when its package is installed.
struct Need {
    /// An absolute path, or the name of a program.
    file: &'static str,
    package: &'static str,
}

const fn need(file: &'static str, package: &'static str) -> Need {
    Need { file, package }
}

/// Where Debian's ccache stands in for the compiler, by the same name.
pub const CCACHE: &str = "/usr/lib/ccache/gcc";

/// To unpack, patch and build.
const BUILD: &[Need] = &[
    need("git", "git"),
    need("gcc", "gcc"),
    need("make", "make"),
    need("setpriv", "util-linux"),
    need("perl", "perl"),
    need("flex", "flex"),
    need("bison", "bison"),
    need("bc", "bc"),
    need("xz", "xz-utils"),
    need("cpio", "cpio"),
    need("/usr/include/libelf.h", "libelf-dev"),
    need("/usr/include/openssl/ssl.h", "libssl-dev"),
];
/// To build again in less time; nothing fails for want of it.
const SPEED: &[Need] = &[need(CCACHE, "ccache")];
/// To boot.
const GUEST: &[Need] = &[
    need("qemu-system-x86_64", "qemu-system-x86"),
    need("setpriv", "util-linux"),
    need("cpio", "cpio"),
    need("gzip", "gzip"),
    need("mke2fs", "e2fsprogs"),
];
/// To fuzz: the C core is built by clang, with what the fuzzer needs to see.
const FUZZ: &[Need] = &[need("clang", "clang"), need("c++", "g++")];
/// To prove.
const PROOFS: &[Need] = &[
    need("frama-c", "frama-c-base"),
    need("why3", "why3"),
    need("cvc4", "cvc4"),
    need("z3", "z3"),
    need("gcc", "gcc"),
];
/// What the tests of the C library and the drop-ins compare with and run.
const TESTS: &[Need] = &[
    need("gcc", "gcc"),
    need("clang", "clang"),
    // Of any version; its files have the version in their paths.
    need("/usr/share/doc/libclang-rt-dev", "libclang-rt-dev"),
    need("pkg-config", "pkg-config"),
    need("/usr/include/libaio.h", "libaio-dev"),
    need("fio", "fio"),
    need("mandoc", "mandoc"),
    need("lintian", "lintian"),
    need("dpkg-shlibdeps", "dpkg-dev"),
    need("qemu-img", "qemu-utils"),
    need("stress-ng", "stress-ng"),
    need("sysbench", "sysbench"),
    need("mariadbd", "mariadb-server-core"),
    need("mariadb", "mariadb-client"),
    // The example of an HTTP server is asked by them.
    need("curl", "curl"),
    need("wrk", "wrk"),
    // File systems that random calls are compared on.
    need("mkfs.xfs", "xfsprogs"),
    need("mkfs.btrfs", "btrfs-progs"),
    need("bindfs", "bindfs"),
];
/// To count instructions.
const COUNTING: &[Need] = &[need("valgrind", "valgrind")];
/// To check.
const CHECK: &[Need] = &[
    need("perl", "perl"),
    need("sparse", "sparse"),
    // checkpatch checks licences with it.
    need("/usr/lib/python3/dist-packages/ply/lex.py", "python3-ply"),
];

/// What is needed is missing and cannot be had: by the wrong user, without a
/// network, or of a system that is not Debian.
#[derive(Debug)]
pub struct Unavailable(String);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unavailable {}

impl Need {
    fn is_met(&self) -> bool {
        if self.file.starts_with('/') {
            return Path::new(self.file).exists();
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        // An ordinary user's PATH may lack the last two.
        std::env::split_paths(&path)
            .chain(["/usr/sbin".into(), "/sbin".into()])
            .any(|dir| dir.join(self.file).is_file())
    }
}

/// Sees to it that source and tools for building are there.
pub fn for_build(sh: &Shell, source_package: &str, tarball: &Path) -> Result<()> {
    let mut missing = missing(BUILD);
    if !tarball.exists() {
        missing.push(source_package);
    }
    let wished = if can_install(sh)? { self::missing(SPEED) } else { Vec::new() };
    if !missing.is_empty() {
        missing.extend(wished);
        return install(sh, &missing);
    }
    if let Err(error) = install(sh, &wished) {
        eprintln!("note: building without ccache: {error:#}");
    }
    Ok(())
}

/// Sees to it that what runs a guest is there.
pub fn for_guest(sh: &Shell) -> Result<()> {
    install(sh, &missing(GUEST))
}

/// Sees to it that instructions can be counted.
pub fn for_counting(sh: &Shell) -> Result<()> {
    install(sh, &missing(COUNTING))
}

/// Sees to it that the fuzz targets can be built.
pub fn for_fuzz(sh: &Shell) -> Result<()> {
    install(sh, &missing(FUZZ))?;
    subcommand(sh, "fuzz")
}

/// Sees to it that what tests run is there, as far as that can be; they skip what
/// is not.
pub fn for_tests(sh: &Shell) {
    if let Err(error) = install(sh, &missing(TESTS)) {
        println!("note: some tests will be skipped: {error:#}");
    }
}

/// Sees to it that cargo-llvm-cov is there, and LLVM's tools and clang of this major
/// version; the directory of those.
pub fn for_coverage(sh: &Shell, major: &str) -> Result<PathBuf> {
    let dir = PathBuf::from(format!("/usr/lib/llvm-{major}/bin"));
    if ["llvm-cov", "clang"].iter().any(|tool| !dir.join(tool).exists()) {
        install(sh, &[&format!("llvm-{major}"), &format!("clang-{major}")])?;
    }
    subcommand(sh, "llvm-cov")?;
    Ok(dir)
}

/// Sees to it that Cargo has a subcommand, from the crate that is called after it.
fn subcommand(sh: &Shell, name: &str) -> Result<()> {
    if cmd!(sh, "cargo {name} --version").quiet().ignore_stdout().ignore_stderr().run().is_err() {
        println!("installing cargo-{name}");
        let install = cmd!(sh, "cargo install cargo-{name} --locked --quiet");
        install.quiet().run().map_err(|e| Unavailable(format!("missing: cargo-{name}: {e}")))?;
    }
    Ok(())
}

/// Sees to it that Frama-C and its provers are there.
pub fn for_proofs(sh: &Shell) -> Result<()> {
    install(sh, &missing(PROOFS))
}

/// Sees to it that the checkers are there.
pub fn for_check(sh: &Shell) -> Result<()> {
    install(sh, &missing(CHECK))
}

fn missing(needs: &[Need]) -> Vec<&'static str> {
    needs.iter().filter(|n| !n.is_met()).map(|n| n.package).collect()
}

/// Whether packages can be installed: by root, where Debian's tool is.
fn can_install(sh: &Shell) -> Result<bool> {
    let is_root = cmd!(sh, "id -u").quiet().read()? == "0";
    Ok(is_root && Path::new("/usr/bin/apt-get").exists())
}

/// Installs packages as root; says what to install otherwise.
///
/// The error is [`Unavailable`].
fn install(sh: &Shell, packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    if !can_install(sh)? {
        let why = format!(
            "missing: {list}. As root on Debian this would install them itself; otherwise: \
             sudo apt-get install --no-install-recommends {list}"
        );
        return Err(Unavailable(why).into());
    }
    println!("installing {list}");
    let _env = sh.push_env("DEBIAN_FRONTEND", "noninteractive");
    let install = cmd!(sh, "apt-get -q=2 install --no-install-recommends {packages...}");
    for command in [cmd!(sh, "apt-get -q=2 update"), install] {
        command.quiet().run().map_err(|e| Unavailable(format!("missing: {list}: {e}")))?;
    }
    Ok(())
}

/// The installed version of a Debian package, if dpkg knows one.
pub fn installed_version(sh: &Shell, package: &str) -> Option<String> {
    let format = "${Version}";
    cmd!(sh, "dpkg-query -W -f {format} {package}").quiet().ignore_stderr().read().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_missing_by_its_package() {
        let needs = [need("/", "base-files"), need("no such program", "unheard-of")];
        assert_eq!(missing(&needs), ["unheard-of"]);
    }
}
