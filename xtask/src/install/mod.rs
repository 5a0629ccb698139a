//! `cargo xtask install`: the library for C, the drop-ins and the command,
//! where a package or an administrator wants them; and packages of them.
//!
//! | room | duty |
//! |---|---|
//! | `man` | the manual pages |
//! | `fio` | AIO2's engine for fio |
//! | `package` | `cargo xtask package`: Debian packages |

mod fio;
mod man;
pub mod package;

use aio2_link::{LIBAIO, LIBAIO_SYSCALL, POSIX, Recipe};
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use xshell::{Shell, cmd};

/// Where to.
#[derive(clap::Args)]
pub struct Args {
    /// Where the files will be used
    #[arg(long, default_value = "/usr/local")]
    pub prefix: PathBuf,
    /// What is put before that now, for packages
    #[arg(long, default_value = "/")]
    pub destdir: PathBuf,
    /// Cargo's profile to build with
    #[arg(long, default_value = "dist")]
    pub profile: String,
    /// The engine for fio too: fetches the source of the fio that is installed
    #[arg(long)]
    pub fio: bool,
}

/// What programs link with.
const LIBRARY: Recipe = aio2_link::LIBAIO2;
/// Where drop-ins go: not where the loader looks by itself.
const DROP_INS: &str = "lib/aio2";

pub fn run(args: &Args) -> Result<()> {
    let sh = Shell::new()?;
    let root = crate::root();
    sh.change_dir(root);
    let profile = &args.profile;
    let packages = [LIBRARY, LIBAIO, POSIX].map(|object| format!("-p{}", object.package));
    cmd!(sh, "{CARGO} build --quiet --profile {profile} -p aio2-cli {packages...}").run()?;
    let built = target(&sh)?.join(if profile == "dev" { "debug" } else { profile });

    let to = args.destdir.join(args.prefix.strip_prefix("/").unwrap_or(&args.prefix));
    let lib = to.join("lib");
    let (include, bin) = (to.join("include"), to.join("bin"));
    let drop_ins = to.join(DROP_INS);
    for dir in
        [&drop_ins, &lib.join("pkgconfig"), &include.join("aio2"), &include.join("linux"), &bin]
    {
        fs::create_dir_all(dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    }
    copy(&built.join("aio2"), &bin.join("aio2"))?;
    let archive = built.join(LIBRARY.archive());
    LIBRARY.link(root, &archive, &lib.join(LIBRARY.soname))?;
    LIBRARY.static_library(root, &archive, "aio2_*", &lib.join("libaio2.a"))?;
    for drop_in in [LIBAIO, LIBAIO_SYSCALL, POSIX] {
        if drop_in.soname == LIBAIO_SYSCALL.soname && !cfg!(target_arch = "x86_64") {
            println!("SKIP {}: for x86-64 only", drop_in.soname);
            continue;
        }
        drop_in.link(root, &built.join(drop_in.archive()), &drop_ins.join(drop_in.soname))?;
    }
    if args.fio {
        fio::build(&sh, root, &archive, &drop_ins.join(aio2_link::FIO.soname))?;
    }
    let link = lib.join("libaio2.so");
    let _ = fs::remove_file(&link);
    symlink(LIBRARY.soname, &link)?;
    for header in fs::read_dir(root.join("userspace/include/aio2"))? {
        let header = header?;
        copy(&header.path(), &include.join("aio2").join(header.file_name()))?;
    }
    copy(&root.join("abi/include/linux/aio2.h"), &include.join("linux/aio2.h"))?;
    fs::write(lib.join("pkgconfig/aio2.pc"), pkg_config(&args.prefix))?;
    man::install(root, &built.join("aio2"), &to.join("share"))?;
    println!("installed to {}", to.display());
    Ok(())
}

const CARGO: &str = env!("CARGO");

/// Where Cargo builds.
fn target(sh: &Shell) -> Result<PathBuf> {
    let told = cmd!(sh, "{CARGO} metadata --no-deps --format-version 1").quiet().read()?;
    let told: serde_json::Value = serde_json::from_str(&told)?;
    Ok(told["target_directory"].as_str().context("Cargo tells no target directory")?.into())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("{} to {}", from.display(), to.display()))?;
    Ok(())
}

fn pkg_config(prefix: &Path) -> String {
    format!(
        "prefix={}\nlibdir=${{prefix}}/lib\nincludedir=${{prefix}}/include\n\n\
         Name: aio2\nDescription: Asynchronous system calls with attributes\nVersion: {}\n\
         Libs: -L${{libdir}} -laio2\nLibs.private: -lgcc_s -lpthread -lm -ldl\n\
         Cflags: -I${{includedir}}\n",
        prefix.display(),
        env!("CARGO_PKG_VERSION"),
    )
}
