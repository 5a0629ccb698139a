//! The suite of a drop-in, which is run with the original first: for the tests of each.

use aio2_link::{Recipe, failed_cases, run};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Cases that failed, with what they said.
pub type Failed = BTreeMap<String, String>;

/// Cases that deviate, and why.
pub type Deviations = [(&'static str, &'static str)];

/// A directory with the drop-ins, the suite and what else its tests need.
pub struct Suite {
    dir: TempDir,
}

impl Suite {
    /// Links the objects by their recipes, and builds the suite in `tests/suite.c` of
    /// the crate at `of`, with `libraries`, the saboteur, the jail, and `programs`, which
    /// are in `tests/`, too, with what they need.
    pub fn new(
        of: &Path,
        objects: &[(Recipe, &str)],
        libraries: &[&str],
        programs: &[(&str, &[&str])],
    ) -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let at = dir.path();
        let (test, root) =
            (std::env::current_exe().expect("a test has a path"), of.join("../../.."));
        for (recipe, object) in objects {
            let archive = recipe.newest_archive(test.parent().expect("it lies in deps"));
            let archive = archive.expect("Cargo has built the static library");
            let object = at.join(object);
            fs::create_dir_all(object.parent().expect("it is in the directory")).unwrap();
            recipe.link(&root, &archive, &object).unwrap();
        }
        let own = |name: &str| of.join("tests").join(format!("{name}.c"));
        let jail = root.join("userspace/compat/libaio/tests/jail.c");
        let mut all = vec![
            (own("suite"), "suite", libraries),
            (own("sabotage"), "sabotage.so", &["-shared", "-fPIC", "-ldl"]),
            (jail, "jail", &[]),
        ];
        all.extend(programs.iter().map(|&(name, more)| (own(name), name, more)));
        for (source, program, more) in all {
            let mut gcc = Command::new("gcc");
            gcc.args(["-std=gnu11", "-g", "-Wall", "-Wextra", "-Werror"]).arg(source);
            run(gcc.arg("-o").arg(at.join(program)).args(more)).unwrap();
        }
        Suite { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The same as text, for the environment.
    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("a path of ours is text").to_owned()
    }

    /// Runs the suite; the cases that failed, and the number of all.
    pub fn run(&self, environment: &[(&str, &str)]) -> (Failed, usize) {
        let files = tempfile::tempdir_in(self.dir.path()).unwrap();
        let mut suite = Command::new(self.path("suite"));
        suite.arg(files.path()).envs(environment.iter().copied());
        outcome(&mut suite).0
    }

    /// The same without root, and with io_uring and Linux AIO forbidden; the drop-in is
    /// `object` of this directory, or its directory if `by_directory`, in `variable`.
    pub fn run_in_jail(&self, object: &str, variable: &str, by_directory: bool) -> Failed {
        // Where nobody can read and write.
        let open = tempfile::tempdir().unwrap();
        let name = Path::new(object).file_name().expect("it is a file");
        for (from, to) in [("suite", "suite".as_ref()), ("jail", "jail".as_ref()), (object, name)] {
            fs::copy(self.path(from), open.path().join(to)).unwrap();
        }
        fs::create_dir(open.path().join("files")).unwrap();
        for dir in ["", "files"] {
            let all = fs::Permissions::from_mode(0o777);
            fs::set_permissions(open.path().join(dir), all).unwrap();
        }
        let mut jail = Command::new(open.path().join("jail"));
        jail.args(["suite", "files"].map(|name| open.path().join(name)));
        let drop_in = if by_directory { open.path().into() } else { open.path().join(name) };
        let ((failed, _), said) = outcome(jail.env(variable, drop_in));
        assert!(said.starts_with("io_uring and Linux AIO are forbidden"), "{said}");
        println!("{}", said.lines().next().unwrap_or_default());
        failed
    }
}

/// Runs the suite to its end; what failed, the number of all, and what it said.
fn outcome(command: &mut Command) -> ((Failed, usize), String) {
    let output = command.output().expect("the suite can be started");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let (failed, all) = failed_cases(&said);
    let all = all.unwrap_or_else(|| panic!("the suite did not end: {} {said}", output.status));
    ((failed, all), said)
}

/// Nothing has failed but what is `known` to deviate.
pub fn assert_only(failed: &Failed, known: &Deviations, who: &str) {
    for (case, why) in known {
        println!("{who} deviates in {case}: {why}");
    }
    let unknown: Vec<_> =
        failed.iter().filter(|(name, _)| !known.iter().any(|(case, _)| case == name)).collect();
    assert!(unknown.is_empty(), "{who}: {unknown:#?}");
}

/// What an object defines, as the loader sees it: type, name and version of each.
pub fn symbols(object: &Path) -> Vec<String> {
    let output = Command::new("nm").args(["-D", "--defined-only"]).arg(object).output();
    let output = output.expect("binutils are there");
    let mut names: Vec<String> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" "))
        .collect();
    names.sort();
    names
}
