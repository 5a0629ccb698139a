//! The C API as C programs see it: built by gcc and clang, with and without
//! sanitizers, linked with the shared object and with the archive.

use aio2_link::{LIBAIO2, includes, run};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use tempfile::TempDir;

const SANITIZE: [&str; 2] = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
const STRICT: [&str; 5] = ["-std=gnu11", "-g", "-Wall", "-Wextra", "-Werror"];

fn crate_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The project.
fn root() -> PathBuf {
    crate_dir().join("../..")
}

/// The static library, which Cargo builds beside this test.
fn archive() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let deps = test.parent().expect("it lies in deps");
    LIBAIO2.newest_archive(deps).expect("Cargo has built the static library")
}

/// A directory with libaio2.so.1 and libaio2.a, made once.
fn libraries() -> &'static Path {
    static MADE: OnceLock<TempDir> = OnceLock::new();
    let dir = MADE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        LIBAIO2.link(&root(), &archive(), &dir.path().join("libaio2.so.1")).unwrap();
        std::os::unix::fs::symlink("libaio2.so.1", dir.path().join("libaio2.so")).unwrap();
        let archived = dir.path().join("libaio2.a");
        LIBAIO2.static_library(&root(), &archive(), "aio2_*", &archived).unwrap();
        dir
    });
    dir.path()
}

/// The compilers that are here; of each one that is not, a SKIP says so.
fn compilers() -> Vec<&'static str> {
    let here = |name: &&str| Command::new(name).arg("--version").output().is_ok();
    let (there, missing) = ["gcc", "clang"].into_iter().partition::<Vec<_>, _>(here);
    for name in missing {
        println!("SKIP {name}: not installed (apt-get install {name})");
    }
    there
}

fn compile(compiler: &str, source: &Path, flags: &[&str], to: &Path) {
    let mut command = Command::new(compiler);
    command.args(STRICT).args(flags).arg("-o").arg(to).arg(source);
    command.args(includes(&root()).iter().map(|dir| format!("-I{}", dir.display())));
    command.arg(format!("-L{}", libraries().display()));
    command.args(["-laio2", "-lpthread"]);
    run(&mut command).unwrap();
}

fn run_program(program: &Path, args: &[&Path]) -> String {
    let output = Command::new(program)
        .args(args)
        .env("LD_LIBRARY_PATH", libraries())
        .output()
        .expect("the program can be started");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {}\n{said}{errors}", program.display(), output.status);
    said
}

/// Whether the compiler has what a program with sanitizers is linked with; a SKIP
/// says so where it has not.
fn has_sanitizers(compiler: &str, dir: &Path) -> bool {
    let (source, program) = (dir.join("nothing.c"), dir.join("nothing"));
    fs::write(&source, "int main(void) { return 0; }\n").unwrap();
    let mut command = Command::new(compiler);
    command.args(SANITIZE).arg("-o").arg(&program).arg(&source);
    let linked = run(&mut command);
    if let Err(why) = &linked {
        let package = if compiler == "clang" { "libclang-rt-dev" } else { "libgcc-12-dev" };
        println!("SKIP {compiler} with sanitizers (apt-get install {package}): {why:?}");
    }
    linked.is_ok()
}

/// Builds and runs a source with each compiler, with and without sanitizers.
fn with_each_compiler(source: &Path, test: impl Fn(&Path, &str)) {
    let dir = tempfile::tempdir().unwrap();
    for compiler in compilers() {
        let sanitize = has_sanitizers(compiler, dir.path()).then_some(&SANITIZE[..]);
        for flags in [Some(&["-O2"][..]), sanitize].into_iter().flatten() {
            let program = dir.path().join(format!("{compiler}-{}", flags.len()));
            compile(compiler, source, flags, &program);
            test(&program, &format!("{compiler} {}", flags.join(" ")));
        }
    }
}

#[test]
fn the_copy_example_copies() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("from");
    let data: Vec<u8> =
        (0..3_000_001_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(&from, &data).unwrap();
    with_each_compiler(&crate_dir().join("examples/copy.c"), |program, how| {
        let to = dir.path().join("to");
        let said = run_program(program, &[&from, &to]);
        assert!(fs::read(&to).unwrap() == data, "{how}: the copy differs");
        assert!(
            said.starts_with("3000001 bytes from the cache") || said.contains(" not"),
            "{said}"
        );
    });
}

#[test]
fn the_calls_keep_their_promises() {
    with_each_compiler(&crate_dir().join("tests/calls.c"), |program, how| {
        println!("{how}: {}", run_program(program, &[]));
    });
}

/// Written from SPEC.md and the header alone: the text says all that is needed.
///
/// SPEC: R-RING-9, R-RING-10, R-RING-11, R-RING-12, R-RING-13, R-OVF-5, R-NOTIFY-3,
/// R-GROW-2
#[test]
fn what_is_written_from_the_text_alone_works() {
    with_each_compiler(&crate_dir().join("tests/spec.c"), |program, how| {
        println!("{how}: {}", run_program(program, &[]));
    });
}

#[test]
fn the_archive_links_too() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("calls");
    let mut command = Command::new("gcc");
    command.args(STRICT).arg("-o").arg(&program).arg(crate_dir().join("tests/calls.c"));
    command.args(includes(&root()).iter().map(|dir| format!("-I{}", dir.display())));
    command.arg(libraries().join("libaio2.a")).args(["-lgcc_s", "-lpthread", "-lm", "-ldl"]);
    run(&mut command).unwrap();
    run_program(&program, &[]);
}

#[test]
fn the_headers_are_cxx_too() {
    for compiler in ["g++", "clang++"] {
        if Command::new(compiler).arg("--version").output().is_err() {
            println!("SKIP {compiler}: not installed");
            continue;
        }
        for header in ["aio2", "context", "iocb", "event", "ring"] {
            let mut command = Command::new(compiler);
            command.args(["-x", "c++", "-fsyntax-only", "-Wall", "-Wextra", "-Werror"]);
            command.args(includes(&root()).iter().map(|dir| format!("-I{}", dir.display())));
            command.arg("-include").arg(format!("aio2/{header}.h")).arg("/dev/null");
            run(&mut command).unwrap();
        }
    }
}

/// What a header declares is what the object exports, each in version AIO2_1.
#[test]
fn all_that_is_declared_is_exported_and_nothing_else() {
    let mut declared = Vec::new();
    for header in ["context", "iocb", "event", "ring"] {
        let text =
            fs::read_to_string(crate_dir().join(format!("../include/aio2/{header}.h"))).unwrap();
        let mut comment = false;
        for line in text.lines() {
            comment |= line.starts_with("/*");
            let begins = line.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
            if !comment
                && begins
                && !line.starts_with("struct aio2_ring {")
                && let Some((before, _)) = line.split_once('(')
            {
                let name =
                    before.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
                if name.starts_with("aio2_") {
                    declared.push(name.to_owned());
                }
            }
            comment &= !line.ends_with("*/");
        }
    }
    let mut nm = Command::new("nm");
    nm.args(["-D", "--defined-only"]).arg(libraries().join("libaio2.so.1"));
    let nm = nm.output().expect("binutils are there");
    let mut exported: Vec<String> = String::from_utf8_lossy(&nm.stdout)
        .lines()
        .filter_map(|line| line.split_whitespace().nth(2))
        .filter(|name| *name != "AIO2_1")
        .map(|name| {
            name.strip_suffix("@@AIO2_1").unwrap_or_else(|| panic!("{name}: no version")).to_owned()
        })
        .collect();
    declared.sort();
    exported.sort();
    assert_eq!(declared, exported);
}
