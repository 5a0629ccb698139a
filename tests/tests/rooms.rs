//! The files of the library, and of what stands on it, are rooms that a reader
//! can find his way in: no circle among them, and tables in their documentation
//! that say which there are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use syn::visit::{self, Visit};
use syn::{Item, UseTree, Visibility};

/// Each file, and those that it uses.
type Arrows<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// A module's path from the crate's root.
type Module = Vec<String>;

/// The library, and what stands on it.
const CRATES: [&str; 9] = [
    "",
    "capi",
    "cli",
    "record",
    "thread",
    "compat/common",
    "compat/libaio",
    "compat/link",
    "compat/posix",
];

/// Where the files of a crate are.
fn source(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../userspace").join(of).join("src")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The files of a crate below `dir`, by their paths from the root of its source.
fn files(of: &str, dir: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in source(of).join(dir).read_dir().expect("a folder of the library") {
        let entry = entry.expect("a file of the library");
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if dir.is_empty() { name } else { format!("{dir}/{name}") };
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            found.append(&mut files(of, &path));
        } else if path.ends_with(".rs") {
            found.insert(path);
        }
    }
    found
}

fn module_of(file: &str) -> Module {
    let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').filter(|name| !matches!(*name, "lib" | "main")).map(String::from).collect()
}

/// What one file says of others.
#[derive(Default)]
struct Names {
    /// Paths that it uses, as they are written.
    used: Vec<Vec<String>>,
    /// Names that it hands on, and where they come from.
    handed_on: BTreeMap<String, Vec<String>>,
}

impl Names {
    fn of(file: &syn::File) -> Self {
        let mut names = Names::default();
        file.items.iter().for_each(|item| names.visit_item(item));
        names
    }

    fn expand(tree: &UseTree, before: &[String], each: &mut impl FnMut(String, Vec<String>)) {
        let with = |name: String| [before, &[name]].concat();
        match tree {
            UseTree::Path(path) => Self::expand(&path.tree, &with(path.ident.to_string()), each),
            UseTree::Name(name) if name.ident == "self" => {
                each(before.last().cloned().unwrap_or_default(), before.to_vec());
            }
            UseTree::Name(name) => each(name.ident.to_string(), with(name.ident.to_string())),
            UseTree::Rename(name) => each(name.rename.to_string(), with(name.ident.to_string())),
            UseTree::Glob(_) => each("*".into(), before.to_vec()),
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| Self::expand(tree, before, each));
            }
        }
    }
}

impl<'a> Visit<'a> for Names {
    fn visit_item(&mut self, item: &'a Item) {
        let attrs = match item {
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            _ => &Vec::new(),
        };
        let is_test = attrs.iter().any(|attr| {
            attr.path().is_ident("cfg")
                && attr.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
        });
        if !is_test {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        let hands_on = !matches!(item.vis, Visibility::Inherited);
        Self::expand(&item.tree, &[], &mut |name, path| {
            if hands_on {
                self.handed_on.insert(name, path);
            } else {
                self.used.push(path);
            }
        });
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        let names: Vec<_> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        if names.len() > 1 {
            self.used.push(names);
        }
        visit::visit_path(self, path);
    }
}

/// The house: which file uses what of which other.
struct House {
    /// The file of each module.
    files: BTreeMap<Module, String>,
    names: BTreeMap<Module, Names>,
}

impl House {
    /// That of a crate.
    fn read(of: &str) -> Self {
        let mut house = House { files: BTreeMap::new(), names: BTreeMap::new() };
        for file in files(of, "") {
            let text = read(&source(of).join(&file));
            let parsed = syn::parse_file(&text).unwrap_or_else(|e| panic!("{file}: {e}"));
            let module = module_of(&file);
            house.names.insert(module.clone(), Names::of(&parsed));
            house.files.insert(module, file);
        }
        house
    }

    /// The path from the crate's root of one that is written in `module`.
    fn absolute(&self, module: &[String], path: &[String]) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        Some(match first.as_str() {
            "crate" => rest.to_vec(),
            "self" => [module, rest].concat(),
            "super" => {
                let (_, mut at) = module.split_last()?;
                let mut rest = rest;
                while let Some(("super", more)) = rest.split_first().map(|(f, m)| (f.as_str(), m)) {
                    (at, rest) = (at.split_last()?.1, more);
                }
                [at, rest].concat()
            }
            _ => [module, path].concat(),
        })
    }

    /// The file in which what `path` names stands.
    fn file_of(&self, module: &[String], path: &[String]) -> Option<&String> {
        let mut path = self.absolute(module, path)?;
        for _ in 0..8 {
            let depth = (1..=path.len()).rev().find(|&n| self.files.contains_key(&path[..n]))?;
            let (at, rest) = path.split_at(depth);
            match rest.first().and_then(|name| self.names[at].handed_on.get(name)) {
                Some(from) => path = [self.absolute(at, from)?, rest[1..].to_vec()].concat(),
                None => return self.files.get(at),
            }
        }
        None
    }

    /// Each file, and those that it uses.
    fn arrows(&self) -> Arrows<'_> {
        let arrows = self.names.iter().map(|(module, names)| {
            let file = &self.files[module];
            let others = names.used.iter().filter_map(|path| self.file_of(module, path));
            (file.as_str(), others.filter(|other| *other != file).map(String::as_str).collect())
        });
        arrows.collect()
    }
}

/// The files that use themselves by others, and which of those they use.
fn circles<'a>(arrows: &Arrows<'a>) -> Arrows<'a> {
    let is_in = |file: &str| arrows[file].iter().any(|other| leads(arrows, other, file));
    let within = |file: &&'a str| arrows[file].iter().copied().filter(|o| is_in(o)).collect();
    arrows.keys().filter(|file| is_in(file)).map(|file| (*file, within(file))).collect()
}

/// Whether `from` is `to`, or uses it, by others too.
fn leads(arrows: &Arrows<'_>, from: &str, to: &str) -> bool {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(file) = next.pop() {
        if seen.insert(file) {
            next.extend(arrows.get(file).into_iter().flatten());
        }
    }
    seen.contains(to)
}

#[test]
fn no_file_needs_itself_by_others() {
    for of in CRATES {
        let house = House::read(of);
        let found = circles(&house.arrows());
        assert!(found.is_empty(), "files that need each other in {of}: {found:#?}");
    }
    let house = House::read("");
    let arrows = house.arrows();
    assert!(arrows["engine/calls/submit.rs"].contains("engine/request/mod.rs"), "{arrows:#?}");
    let house = House::read("cli");
    let arrows = house.arrows();
    assert!(arrows["main.rs"].contains("dump/mod.rs"), "{arrows:#?}");
}

#[test]
fn a_circle_is_found() {
    let arrows = [("a", vec!["b"]), ("b", vec!["c", "d"]), ("c", vec!["b"]), ("d", vec![])];
    let arrows = arrows.map(|(file, others)| (file, others.into_iter().collect()));
    let found: Vec<_> = circles(&arrows.into()).into_keys().collect();
    assert_eq!(found, ["b", "c"]);
}

/// The first column of the table in the documentation of `file` whose head
/// begins with `head`.
fn column(file: &str, head: &str) -> Vec<String> {
    let text = read(&source("").join(file));
    let lines = text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim);
    let first = format!("| {head} |");
    let rows = lines.skip_while(|line| !line.starts_with(&first)).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.filter_map(|row| row.split('`').nth(1)).map(String::from).collect()
}

#[test]
fn each_folder_says_which_rooms_it_has() {
    let all = files("", "");
    let faces = all.iter().filter(|file| file.ends_with("/mod.rs"));
    let mut checked = 0;
    for face in faces {
        let said: BTreeSet<_> = column(face, "room").into_iter().collect();
        if said.is_empty() {
            continue;
        }
        checked += 1;
        let folder = face.trim_end_matches("mod.rs");
        let rooms = all.iter().filter_map(|file| file.strip_prefix(folder));
        let rooms: BTreeSet<_> = rooms
            .map(|room| room.split('/').next().unwrap_or(room).trim_end_matches(".rs").to_string())
            .filter(|room| room != "mod")
            // What stands in for another room.
            .filter(|room| !room.ends_with("_model") && !room.ends_with("_none"))
            .collect();
        assert_eq!(said, rooms, "{face}");
    }
    assert!(checked >= 5, "{checked} tables of rooms");
}

#[test]
fn longest_way_of_a_request_is_that_of_the_table() {
    let house = House::read("");
    let arrows = house.arrows();
    let way = column("lib.rs", "file");
    for file in &way {
        assert!(arrows.contains_key(file.as_str()), "no such file: {file}");
    }
    for (n, file) in way.iter().enumerate().skip(1) {
        let leads = way[..n].iter().any(|a| leads(&arrows, a, file) || leads(&arrows, file, a));
        assert!(leads, "nothing before it leads to {file}");
    }
    let rooms = column("engine/mod.rs", "room");
    let first = |room: &String| way.iter().position(|f| f.starts_with(&format!("engine/{room}/")));
    let places: Vec<_> = rooms.iter().map(first).collect();
    assert!(places.iter().all(Option::is_some), "rooms off the way: {rooms:?} {places:?}");
    assert!(places.is_sorted(), "the rooms do not stand along the way: {rooms:?} {places:?}");
}
