//! AIO2's engine for fio: built with the headers of the very fio that is installed.
//!
//! No package has them. They come from the source of Debian's package of the same
//! version, which apt fetches and verifies, and are configured with its options.

use aio2_link::FIO;
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use xshell::{Shell, cmd};

/// Where fio's source is, configured; fetched if it is not there yet.
fn source(sh: &Shell) -> Result<PathBuf> {
    let format = "--showformat=${source:Version}";
    let version = cmd!(sh, "dpkg-query --show {format} fio")
        .quiet()
        .read()
        .context("fio is not installed as a package of Debian's (apt-get install fio)")?;
    let home = std::env::var_os("HOME").context("HOME is not set")?;
    let dir = Path::new(&home).join(".cache/aio2").join(format!("fio-{version}"));
    let tree = dir.join("source");
    if tree.join("config-host.h").exists() {
        return Ok(tree);
    }
    println!("fetching the source of fio {version}");
    let state = dir.join("apt");
    for made in [&state, &state.join("lists/partial"), &state.join("archives/partial")] {
        fs::create_dir_all(made)?;
    }
    let list = state.join("sources.list");
    let release = fs::read_to_string("/etc/os-release")?;
    let suite = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let suite = suite.context("/etc/os-release tells no suite of Debian's")?;
    let keys = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let archive = "http://deb.debian.org/debian";
    fs::write(&list, format!("deb-src [signed-by={keys}] {archive} {suite} main\n"))?;
    let apt = [
        format!("-oDir::Etc::sourcelist={}", list.display()),
        "-oDir::Etc::sourceparts=/dev/null".into(),
        format!("-oDir::State::lists={}", state.join("lists").display()),
        format!("-oDir::Cache::archives={}", state.join("archives").display()),
        format!("-oDir::Cache::srcpkgcache={}", state.join("srcpkgcache.bin").display()),
        format!("-oDir::Cache::pkgcache={}", state.join("pkgcache.bin").display()),
        "-oAPT::Sandbox::User=".into(),
    ];
    let (sh, apt) = (sh.clone(), &apt);
    sh.change_dir(&dir);
    cmd!(sh, "apt-get {apt...} -q update").quiet().ignore_stdout().run()?;
    let package = format!("fio={version}");
    cmd!(sh, "apt-get {apt...} -q source --download-only {package}")
        .quiet()
        .ignore_stdout()
        .ignore_stderr()
        .run()?;
    fs::remove_dir_all(&state)?;
    let mut files = fs::read_dir(&dir)?.filter_map(|entry| Some(entry.ok()?.path()));
    let is_tarball = |path: &PathBuf| {
        let name = path.to_string_lossy();
        name.contains(".orig.tar.") && !name.ends_with(".asc")
    };
    let tarball = files.find(is_tarball).context("apt has fetched no .orig.tar of fio")?;
    let _ = fs::remove_dir_all(&tree);
    fs::create_dir(&tree)?;
    cmd!(sh, "tar -xf {tarball} --strip-components=1 -C {tree}").quiet().run()?;
    sh.change_dir(&tree);
    // Debian's has more libraries, for engines that the headers do not tell of.
    cmd!(sh, "./configure --disable-native --prefix=/usr").quiet().ignore_stdout().run()?;
    Ok(tree)
}

/// Builds the engine at `path`, with the C API's archive.
pub fn build(sh: &Shell, root: &Path, archive: &Path, path: &Path) -> Result<()> {
    let tree = source(sh)?;
    let installed = cmd!(sh, "fio --version").quiet().read()?;
    let is = fs::read_to_string(tree.join("FIO-VERSION-GEN"))?;
    let version = installed.trim().trim_start_matches("fio-");
    if !is.contains(version) {
        bail!("the source in {} is not that of fio {version}", tree.display());
    }
    let headers: [std::ffi::OsString; 6] = [
        "-D_GNU_SOURCE".into(),
        "-include".into(),
        tree.join("config-host.h").into(),
        "-isystem".into(),
        tree.clone().into(),
        // fio's own functions come from the program that loads it.
        "-Wl,-z,undefs".into(),
    ];
    FIO.link_with(root, archive, path, &headers)?;
    let said = cmd!(sh, "fio --enghelp={path}").quiet().read()?;
    ensure!(said.contains("aio2_report"), "fio does not load the engine: {said}");
    Ok(())
}
