//! Takes ring.c, parse.c and their headers out of the kernel series and
//! compiles them.
//!
//! The patch is the one source of these files. For cargo-fuzz they are built
//! with clang, which puts in what the fuzzer and its sanitizer need to see.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

const FILES: [&str; 5] = ["port.h", "ring.h", "ring.c", "parse.h", "parse.c"];

/// The text of a file that `series` creates; `None` if it creates no such file.
///
/// # Panics
/// If the patch does more to the file than to create it in one hunk.
fn created(series: &str, path: &str) -> Option<String> {
    let (_, patch) = series.split_once(&format!("diff --git a/{path} b/{path}\nnew file mode "))?;
    let hunk = patch.find("\n@@ -0,0 +").expect("a new file begins with a hunk from nothing");
    let mut lines = patch[hunk + 1..].lines();
    let count: usize = lines
        .next()
        .and_then(|line| line.strip_suffix(" @@")?.rsplit_once(',')?.1.parse().ok())
        .unwrap_or_else(|| panic!("{path}: the hunk's header has another form"));
    let text: Option<Vec<&str>> = lines.take(count).map(|line| line.strip_prefix('+')).collect();
    let text = text.unwrap_or_else(|| panic!("{path}: a line of the new file has no +"));
    assert_eq!(text.len(), count, "{path}: the hunk is cut off");
    Some(text.join("\n") + "\n")
}

/// All patches of the series, in its order.
fn series(dir: &Path) -> String {
    let list = fs::read_to_string(dir.join("series")).expect("kernel-patch/series is readable");
    list.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|name| fs::read_to_string(dir.join(name)).unwrap_or_else(|e| panic!("{name}: {e}")))
        .collect()
}

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let patches = root.join("kernel-patch");
    println!("cargo::rerun-if-changed={}", patches.display());
    println!("cargo::rerun-if-changed=layout.c");
    println!("cargo::rerun-if-changed=loads.h");
    let series = series(&patches);
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("aio2");
    fs::create_dir_all(&out).expect("a directory for the files");
    for file in FILES {
        let path = format!("fs/aio2/{file}");
        let text = created(&series, &path)
            .unwrap_or_else(|| panic!("no patch of kernel-patch/series creates {path}"));
        // A patch that mended the file later would be missed.
        assert_eq!(
            series.matches(&format!("diff --git a/{path} ")).count(),
            1,
            "{path}: more than one patch of the series touches it"
        );
        fs::write(out.join(file), text).expect("the file can be written");
    }
    let mut build = cc::Build::new();
    build
        .files(["ring.c", "parse.c"].map(|file| out.join(file)))
        .file("layout.c")
        .include(&out)
        .include(root.join("abi/include"))
        .std("gnu11")
        .warnings(false) // the kernel's own set of warnings is smaller
        .flag("-include")
        .flag("loads.h")
        .flag("-Wall")
        .flag("-Werror")
        .flag("-fno-strict-aliasing");
    if env::var_os("CARGO_CFG_FUZZING").is_some() {
        build
            .compiler("clang")
            .flag("-fsanitize=address,undefined,fuzzer-no-link")
            .flag("-fsanitize-trap=undefined")
            .flag("-fno-omit-frame-pointer");
    }
    build.compile("aio2-ccore");
}
