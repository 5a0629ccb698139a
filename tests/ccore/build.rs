//! Compiles ring.c and parse.c of the kernel series.
//!
//! For cargo-fuzz they are built with clang, which puts in what the fuzzer and
//! its sanitizer need to see.

use std::env;
use std::path::{Path, PathBuf};

mod source;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let patches = root.join("kernel-patch");
    println!("cargo::rerun-if-changed={}", patches.display());
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=source.rs");
    println!("cargo::rerun-if-changed=layout.c");
    println!("cargo::rerun-if-changed=loads.h");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("aio2");
    source::write(&patches, &out);
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
    if build.get_compiler().is_like_clang() {
        // uint64_t and __u64, which are equally wide, are different types to it.
        build.flag("-Wno-incompatible-pointer-types");
    }
    build.compile("aio2-ccore");
}
