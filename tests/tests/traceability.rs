//! SPEC.md, the code and the tests say the same.
//!
//! Each requirement stands once, in the text and in appendix B; each id that is
//! cited anywhere exists; each *yes* has a test; appendix A is the table that
//! the engine goes by. Prints which tests show which requirement.

use aio2::syscall::{ALLOWED, Class};
use aio2_conformance::spec::{Allowed, Spec, Status, ids_in};
use aio2_conformance::suite::TESTS;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Names of tests by requirement.
type Tests = BTreeMap<String, Vec<String>>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the project")
}

fn read(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    String::from_utf8_lossy(&bytes).into_owned()
}

fn spec() -> Spec {
    Spec::parse(&read(&root().join("SPEC.md")))
}

/// All texts of the project, by path from its root.
fn texts() -> BTreeMap<PathBuf, String> {
    const KINDS: [&str; 7] = ["rs", "c", "h", "md", "patch", "sh", "toml"];
    let mut found = BTreeMap::new();
    let mut dirs = vec![PathBuf::new()];
    while let Some(dir) = dirs.pop() {
        for entry in root().join(&dir).read_dir().expect("a directory of the project") {
            let entry = entry.expect("a file of the project");
            let path = dir.join(entry.file_name());
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                if !name.starts_with('.') && !["target", "corpus", "work"].contains(&name.as_str())
                {
                    dirs.push(path);
                }
            } else if KINDS.iter().any(|kind| path.extension().is_some_and(|e| e == *kind)) {
                let text = read(&root().join(&path));
                found.insert(path, text);
            }
        }
    }
    found
}

/// Each id that is cited, with one place where it is.
fn cited(texts: &BTreeMap<PathBuf, String>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (path, text) in texts {
        // There stand ids of a made-up SPEC.
        if path == Path::new("tests/src/spec.rs") {
            continue;
        }
        for (line, number) in text.lines().zip(1..) {
            for id in ids_in(line) {
                let place = || format!("{}:{number}", path.display());
                found.entry(id.to_owned()).or_insert_with(place);
            }
        }
    }
    found
}

/// The functions marked as tests in `text` whose comment says `SPEC:` and ids.
fn tests_in(text: &str) -> Vec<(&str, Vec<&str>)> {
    let mut found = Vec::new();
    let (mut ids, mut is_test) = (Vec::new(), false);
    for line in text.lines().map(str::trim) {
        if line.starts_with("//") {
            if line.contains("SPEC:") {
                ids.extend(ids_in(line));
            }
        } else if line.starts_with("#[") {
            is_test |= line.starts_with("#[test]");
        } else {
            if let Some(rest) = line.strip_prefix("fn ")
                && is_test
                && !ids.is_empty()
            {
                let name = rest.split('(').next().unwrap_or(rest);
                found.push((name, std::mem::take(&mut ids)));
            }
            ids.clear();
            is_test = false;
        }
    }
    found
}

/// The tests of the suite, by requirement.
fn suite_tests() -> Tests {
    let mut found = Tests::new();
    for test in TESTS {
        for id in test.ids {
            found.entry((*id).into()).or_default().push(test.name.into());
        }
    }
    found
}

/// What is run beside the suite where a kernel is booted, by requirement.
fn guest_checks(texts: &BTreeMap<PathBuf, String>) -> Tests {
    let path = Path::new("kernel-patch/guest/src/bin/checks/main.rs");
    let mut found = Tests::new();
    // Lines of the table: `name: "ID" "ID";`.
    for line in texts[path].lines().filter(|line| line.ends_with(';')) {
        let name = line.split(':').next().unwrap_or(line).trim();
        for id in ids_in(line) {
            let name = format!("{} {name}", path.display());
            found.entry(id.to_owned()).or_default().push(name);
        }
    }
    found
}

/// The tests below `dir` that are not of the suite, by requirement.
fn other_tests(texts: &BTreeMap<PathBuf, String>, dir: &str) -> Tests {
    let mut found = Tests::new();
    for (path, text) in texts.iter().filter(|(path, _)| path.starts_with(dir)) {
        if path.extension().is_some_and(|e| e == "rs") {
            for (name, ids) in tests_in(text) {
                for id in ids {
                    let name = format!("{} {name}", path.display());
                    found.entry(id.to_owned()).or_default().push(name);
                }
            }
        }
    }
    found
}

#[test]
fn every_requirement_is_defined_once_and_every_yes_has_a_test() {
    let spec = spec();
    let texts = texts();
    let mut kernel = suite_tests();
    // Tests outside of the suite run on the engine and the library only, but
    // for those of the kernel's C files.
    let mut engine = kernel.clone();
    for (id, tests) in guest_checks(&texts).into_iter().chain(other_tests(&texts, "tests/ccore")) {
        kernel.entry(id).or_default().extend(tests);
    }
    for (id, tests) in other_tests(&texts, "") {
        engine.entry(id).or_default().extend(tests);
    }
    let mut all = engine.clone();
    for (id, tests) in guest_checks(&texts) {
        all.entry(id).or_default().extend(tests);
    }
    print_table(&spec, &all);
    let mut cited = cited(&texts);
    for test in TESTS {
        for id in test.ids {
            cited.entry((*id).into()).or_insert_with(|| test.name.into());
        }
    }
    let problems = spec.untraceable(&cited, &engine, &kernel);
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(spec.defined.len() > 100, "SPEC.md was not understood: {} ids", spec.defined.len());
}

fn print_table(spec: &Spec, tests: &Tests) {
    println!("{:<14} {:<8} {:<8} tests", "requirement", "engine", "kernel");
    for row in &spec.table {
        let tests = tests.get(&row.id).map_or(&[][..], Vec::as_slice);
        let (first, others) = tests.split_first().map_or(("", &[][..]), |(f, o)| (f.as_str(), o));
        println!("{:<14} {:<8} {:<8} {first}", row.id, row.engine, row.kernel);
        for other in others {
            println!("{:<32} {other}", "");
        }
    }
    let count = |status| spec.table.iter().filter(|r| r.engine == status).count();
    println!(
        "engine: {} yes, {} planned, {} n/a; {} tests in the suite",
        count(Status::Yes),
        count(Status::Planned),
        count(Status::NotApplicable),
        TESTS.len()
    );
}

#[test]
fn names_of_tests_are_unique() {
    let mut names: Vec<&str> = TESTS.iter().map(|t| t.name).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|w| w[0] != w[1]), "{names:?}");
}

/// The names between backticks in the last column of the rows that begin with a
/// number; for each row.
fn named_in_rows(page: &str) -> Vec<Vec<&str>> {
    let is_row = |line: &&str| line.starts_with("| ") && line[2..].starts_with(char::is_numeric);
    let last = |row: &str| row.trim_end_matches([' ', '|']).rfind(" | ");
    let rows = page.lines().filter(is_row).filter_map(|row| row.get(last(row)?..));
    rows.map(|cell| cell.split('`').skip(1).step_by(2).collect()).collect()
}

#[test]
fn tests_that_the_page_of_needs_names_are_there() {
    let page = read(&root().join("userspace/NEEDS.md"));
    let texts = texts();
    let code = |(path, _): &(&PathBuf, &String)| path.extension().is_some_and(|e| e == "rs");
    let is_there = |name: &str| {
        let function = format!("fn {name}(");
        texts.iter().filter(code).any(|(_, text)| text.contains(&function))
    };
    let rows = named_in_rows(&page);
    assert_eq!(rows.len(), 25, "each need has a row");
    assert!(rows.iter().filter(|names| names.is_empty()).count() < 3, "few have no test");
    let gone: Vec<_> = rows.iter().flatten().filter(|name| !is_there(name)).collect();
    assert!(gone.is_empty(), "userspace/NEEDS.md names what is no test: {gone:?}");
    assert!(!is_there(&["what_is", "no_test"].join("_")));
}

#[test]
fn appendix_a_is_the_allow_list() {
    let rows: Vec<Allowed> = ALLOWED
        .iter()
        .map(|s| Allowed {
            name: s.name.into(),
            nr_args: s.nr_args,
            fd: s.fd,
            first_try: match s.class {
                Class::Read | Class::Write | Class::Socket => "without blocking".into(),
                Class::Inline => "inline".into(),
                Class::Worker => "worker".into(),
            },
        })
        .collect();
    let spec = spec().allowed;
    for (row, spec) in rows.iter().zip(&spec) {
        assert_eq!(row, spec);
    }
    assert_eq!(rows.len(), spec.len());
}

#[test]
fn a_citation_counts_only_above_a_test() {
    // Taken apart, so that this file does not cite it.
    let id = ["R", "OVF", "1"].join("-");
    let text = format!(
        "/// SPEC: {id}\n#[test]\nfn shows() {{\n// SPEC: {id}\nfn helper() {{}}\n\
         // says {id}\n#[test]\nfn does_not_say_spec() {{}}\n"
    );
    assert_eq!(tests_in(&text), [("shows", vec![id.as_str()])]);
}
