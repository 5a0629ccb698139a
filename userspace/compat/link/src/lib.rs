//! From a Rust static library to a shared object with symbol versions.
//!
//! A cdylib has the versions of its crate's own exports only, and none of a
//! symbol that exists twice. So the static library is linked by the C compiler,
//! with a version script and, where a symbol is doubled or written in C, a C
//! file beside it. Tests and `cargo xtask install` both do it here.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What Rust's standard library needs of the system.
const SYSTEM: [&str; 5] = ["-lgcc_s", "-lpthread", "-lm", "-ldl", "-lc"];

/// A shared object of this project.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// The package of its Rust half.
    pub package: &'static str,
    /// Where that is, from the root of the project.
    pub dir: &'static str,
    /// C files there, which are compiled into it.
    pub sources: &'static [&'static str],
    /// Which symbols are exported, in which version: a file there.
    pub version_script: &'static str,
    /// The name that programs will ask the loader for.
    pub soname: &'static str,
}

/// The C API.
pub const LIBAIO2: Recipe = Recipe {
    package: "aio2-capi",
    dir: "userspace/capi",
    sources: &["inline.c"],
    version_script: "libaio2.map",
    soname: "libaio2.so.1",
};

/// The drop-in for libaio.
pub const LIBAIO: Recipe = Recipe {
    package: "aio2-libaio",
    dir: "userspace/compat/libaio",
    sources: &["symbols.c"],
    version_script: "libaio.map",
    soname: "libaio.so.1",
};

/// The same for programs that make calls by number too: to be preloaded. x86-64
/// only: the version of `syscall` is that of its C library.
pub const LIBAIO_SYSCALL: Recipe = Recipe {
    sources: &["symbols.c", "interpose.c"],
    version_script: "syscall.map",
    soname: "libaio2-syscall.so",
    ..LIBAIO
};

/// The drop-in for POSIX AIO: to be preloaded.
pub const POSIX: Recipe = Recipe {
    package: "aio2-posix",
    dir: "userspace/compat/posix",
    sources: &["symbols.c"],
    version_script: "posix.map",
    soname: "libaio2-posix.so",
};

/// The engine for fio, over the C API.
pub const FIO: Recipe = Recipe {
    dir: "userspace/compat/fio",
    sources: &["engine.c"],
    version_script: "fio.map",
    soname: "fio-aio2.so",
    ..LIBAIO2
};

/// Why there is no object.
#[derive(Debug)]
pub enum LinkError {
    /// The tool could not be started.
    Start(String, io::Error),
    /// It said this.
    Failed(String),
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkError::Start(tool, error) => write!(f, "{tool} cannot be started: {error}"),
            LinkError::Failed(said) => f.write_str(said),
        }
    }
}

impl std::error::Error for LinkError {}

impl Recipe {
    /// The name of the Rust static library.
    #[must_use]
    pub fn archive(&self) -> String {
        format!("lib{}.a", self.package.replace('-', "_"))
    }

    /// The newest static library that Cargo has left in `dir`, its name with or
    /// without a hash.
    #[must_use]
    pub fn newest_archive(&self, dir: &Path) -> Option<PathBuf> {
        let archive = self.archive();
        let stem = archive.trim_end_matches(".a");
        let ours = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let rest = name.strip_prefix(stem).and_then(|name| name.strip_suffix(".a"));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        let files = std::fs::read_dir(dir).ok()?;
        let files = files.filter_map(|entry| Some(entry.ok()?.path())).filter(ours);
        files.max_by_key(|path| path.metadata().and_then(|m| m.modified()).ok())
    }

    /// Makes the shared object at `path`, of the static library `archive`.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn link(&self, root: &Path, archive: &Path, path: &Path) -> Result<(), LinkError> {
        self.link_with(root, archive, path, &[])
    }

    /// The same, with more options for the C compiler.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn link_with(
        &self,
        root: &Path,
        archive: &Path,
        path: &Path,
        options: &[OsString],
    ) -> Result<(), LinkError> {
        let dir = root.join(self.dir);
        let mut gcc = Command::new("gcc");
        gcc.args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"]).arg(path);
        gcc.args(includes(root).iter().map(|dir| option("-I", dir)));
        gcc.args(self.sources.iter().map(|source| dir.join(source)));
        gcc.arg(option("-Wl,--version-script=", &dir.join(self.version_script)));
        gcc.arg(format!("-Wl,-soname,{}", self.soname));
        // All that the script exports is wanted, and nothing of what is not.
        gcc.arg("-Wl,--whole-archive").arg(archive).arg("-Wl,--no-whole-archive");
        gcc.args(["-Wl,--gc-sections", "-Wl,-z,now", "-Wl,-z,relro", "-Wl,-z,defs"]);
        // Its threads run on when a program closes it.
        gcc.arg("-Wl,-z,nodelete").args(options).args(SYSTEM);
        run(&mut gcc)
    }

    /// Makes a static library at `path`: one object, in which nothing is visible
    /// but the symbols that match `exported`, so that a program can have two.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn static_library(
        &self,
        root: &Path,
        archive: &Path,
        exported: &str,
        path: &Path,
    ) -> Result<(), LinkError> {
        let all = path.with_extension("o");
        let mut gcc = Command::new("gcc");
        gcc.args(["-r", "-nostdlib", "-fPIC", "-O2", "-Wall", "-Werror", "-o"]).arg(&all);
        gcc.args(includes(root).iter().map(|dir| option("-I", dir)));
        gcc.args(self.sources.iter().map(|source| root.join(self.dir).join(source)));
        run(gcc.arg("-Wl,--whole-archive").arg(archive).arg("-Wl,--strip-debug"))?;
        let mut objcopy = Command::new("objcopy");
        // Bitcode of a newer LLVM, on which the plugin of an older one aborts ar.
        objcopy.args(["--remove-section", ".llvmbc", "--remove-section", ".llvmcmd"]);
        run(objcopy.args(["--wildcard", "--keep-global-symbol", exported]).arg(&all))?;
        let _ = std::fs::remove_file(path);
        run(Command::new("ar").arg("rcs").arg(path).arg(&all))?;
        std::fs::remove_file(&all).map_err(|e| LinkError::Start("rm".into(), e))
    }
}

/// The cases of a drop-in's suite that failed, with what they said, and how many
/// there are; none if the suite did not end.
#[must_use]
pub fn failed_cases(said: &str) -> (BTreeMap<String, String>, Option<usize>) {
    let all = said.lines().last().and_then(|line| {
        let (number, rest) = line.split_once(' ')?;
        rest.starts_with("cases, ").then(|| number.parse().ok())?
    });
    let failed = said.lines().filter_map(|line| line.strip_prefix("not ok ")?.split_once(": "));
    (failed.map(|(name, why)| (name.to_owned(), why.to_owned())).collect(), all)
}

/// Where the C headers are.
#[must_use]
pub fn includes(root: &Path) -> [PathBuf; 2] {
    [root.join("userspace/include"), root.join("abi/include")]
}

/// Runs a tool; what it said is the error.
///
/// # Errors
/// [`LinkError`].
pub fn run(command: &mut Command) -> Result<(), LinkError> {
    let tool = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| LinkError::Start(tool, error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(LinkError::Failed(format!("{command:?}: {}\n{said}", output.status)))
}

fn option(name: &str, path: &Path) -> OsString {
    let mut option = OsString::from(name);
    option.push(path);
    option
}
