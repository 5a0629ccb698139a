//! The manual pages beside what they describe: the headers, and SPEC.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The pages of a section, by their files' names.
fn pages(section: &str) -> BTreeMap<String, String> {
    let all = fs::read_dir(root().join("man")).unwrap().map(|entry| entry.unwrap().path());
    let ours = all.filter(|path| path.extension().is_some_and(|end| end == section));
    let read = |path: PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, fs::read_to_string(path).unwrap())
    };
    ours.map(read).collect()
}

/// Without white space, by which a prototype may differ.
fn squeezed(text: &str) -> String {
    text.split_whitespace().collect()
}

/// The prototypes of a page: from its synopsis.
fn synopsis(page: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let (mut kind, mut name, mut arguments) = (String::new(), String::new(), Vec::new());
    for line in page.lines() {
        let quoted = |rest: &str| rest.trim_matches('"').to_owned();
        if let Some(rest) = line.strip_prefix(".Ft ") {
            kind = quoted(rest);
        } else if let Some(rest) = line.strip_prefix(".Fo ") {
            (name, arguments) = (rest.to_owned(), Vec::new());
        } else if let Some(rest) = line.strip_prefix(".Fa ").filter(|_| !name.is_empty()) {
            arguments.push(quoted(rest));
        } else if line == ".Fc" {
            let prototype = squeezed(&format!("{kind} {name}({})", arguments.join(", ")));
            found.insert(std::mem::take(&mut name), prototype);
        }
    }
    found
}

/// The prototypes of the headers, squeezed.
fn headers() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for header in ["context", "iocb", "event", "ring"] {
        let path = root().join(format!("userspace/include/aio2/{header}.h"));
        let text = fs::read_to_string(path).unwrap();
        let mut code = String::new();
        let mut rest = &*text;
        while let Some((before, comment)) = rest.split_once("/*") {
            code += before;
            rest = comment.split_once("*/").unwrap().1;
        }
        code += rest;
        let code: String = code
            .lines()
            .filter(|line| !line.starts_with('#'))
            .fold(String::new(), |all, line| all + line + "\n");
        // A function begins a line, and is not within another.
        for piece in code.split(";\n").flat_map(|piece| piece.split("\n}\n")) {
            let piece = piece.trim_start_matches([' ', '\t', '\n', '}']);
            let piece = piece.trim_start_matches("AIO2_BEGIN_DECLS").trim();
            let piece = piece.trim_start_matches("AIO2_INLINE").trim();
            let Some((before, after)) = piece.split_once('(') else { continue };
            let name = before.split([' ', '*', '\n', '\t']).next_back().unwrap_or_default();
            let Some((arguments, _)) = after.split_once(')') else { continue };
            if name.starts_with("aio2_")
                && before != name
                && !before.contains('=')
                && !before.contains("return ")
            {
                found.insert(name.to_owned(), squeezed(&format!("{before}({arguments})")));
            }
        }
    }
    found
}

#[test]
fn each_function_has_a_page_with_its_prototype() {
    let described: BTreeMap<_, _> = pages("3").values().flat_map(|page| synopsis(page)).collect();
    let declared = headers();
    assert!(declared.len() > 30, "{declared:?}");
    let names = |of: &BTreeMap<String, String>| of.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&described), names(&declared));
    for (name, prototype) in &declared {
        assert_eq!(&described[name], prototype, "{name}");
    }
}

/// The errnos of a page.
fn errors(page: &str) -> BTreeSet<String> {
    page.lines().filter_map(|line| line.strip_prefix(".It Bq Er ")).map(String::from).collect()
}

/// A call's page has the errors of its table in SPEC, and no other.
#[test]
fn each_call_has_the_errors_of_spec() {
    let spec = fs::read_to_string(root().join("SPEC.md")).unwrap();
    let pages = pages("2");
    assert_eq!(pages.len(), 5);
    for (name, page) in pages {
        let call = name.trim_end_matches(".2");
        let heading = format!(" {call}\n");
        let (_, section) = spec.split_once(&heading).expect("a section of its own");
        let section = section.split("\n### ").next().unwrap_or_default();
        let table = section.split("| order | error | when |").nth(1).expect("a table");
        let table = table.split("\n\n").next().unwrap_or_default();
        let mut wanted = BTreeSet::new();
        for cell in table.lines().filter_map(|line| line.split('|').nth(2)) {
            for word in cell.split([',', ' ']).filter(|word| word.starts_with('E')) {
                wanted.insert(word.to_owned());
            }
            // "as io_submit2": its errors, as far as there are iocbs.
            if cell.contains("as `io_submit2`") && cell.trim().starts_with("as") {
                wanted.extend(["EINVAL", "EFAULT", "E2BIG", "EAGAIN"].map(String::from));
            }
        }
        if section.contains("as `io_submit2` |") {
            wanted.extend(["EBADF", "EXDEV"].map(String::from));
        }
        // That of kernel.aio2_disabled stands in the text of the first call.
        if ["io_setup2", "io_exec2"].contains(&call) {
            assert!(spec.contains("then end with EPERM"));
            wanted.insert("EPERM".into());
        }
        assert_eq!(errors(&page), wanted, "{call}");
    }
}

/// What a page calls a constant is one.
#[test]
fn each_constant_is_defined() {
    let mut defined = fs::read_to_string(root().join("abi/include/linux/aio2.h")).unwrap();
    for header in ["context", "ring"] {
        let path = root().join(format!("userspace/include/aio2/{header}.h"));
        defined += &fs::read_to_string(path).unwrap();
    }
    for (name, page) in ["2", "3", "7"].iter().flat_map(|section| pages(section)) {
        let constants = page.lines().filter_map(|line| line.split_once("Dv "));
        for word in constants.flat_map(|(_, rest)| rest.split([' ', ','])) {
            let is_one = !word.starts_with("AIO2_") || defined.contains(&format!("{word}\t"));
            assert!(is_one || defined.contains(&format!("{word} ")), "{name}: {word}");
        }
    }
}

#[test]
fn each_example_compiles() {
    let mut compiled = 0;
    let dir = tempfile::tempdir().unwrap();
    for (name, page) in ["2", "3", "7"].iter().flat_map(|section| pages(section)) {
        for example in page.split(".Bd -literal\n").skip(1) {
            let example = example.split("\n.Ed").next().unwrap().replace("\\e", "\\");
            let source = dir.path().join("example.c");
            fs::write(&source, example).unwrap();
            let mut gcc = Command::new("gcc");
            gcc.args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]).arg(&source);
            for include in aio2_link::includes(&root()) {
                gcc.arg("-I").arg(include);
            }
            aio2_link::run(&mut gcc).unwrap_or_else(|said| panic!("{name}: {said}"));
            compiled += 1;
        }
    }
    assert!(compiled >= 3, "{compiled}");
}
