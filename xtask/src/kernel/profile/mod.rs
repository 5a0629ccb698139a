//! `cargo xtask bench --kernel --profile`: which functions take the instructions of
//! each row.
//!
//! A plugin of qemu (`plugin.c`, compiled here) counts how often each instruction is
//! executed while a row is measured; the symbols of kernel and program say whose they
//! are. What is inlined counts for the function that it is inlined into.

use super::config::Config;
use super::icount::Cost;
use aio2_guest::OPERATIONS;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The plugin's source.
const SOURCE: &str = include_str!("plugin.c");
/// Where the profiles are.
pub const TABLE: &str = "kernel-patch/PROFILE.md";
/// Functions that take less than so many instructions for an operation are not named.
const LEAST: f64 = 3.0;
/// Addresses from here on are the kernel's.
const KERNEL: u64 = 1 << 63;
/// Of the plain calls and of those that are only compared, the functions are not told.
const TOLD: [&str; 4] = ["io_uring", "aio2", "aio2+timing", "aio2+cache+path"];

/// The plugin, and what it will have written.
pub struct Plugin {
    library: PathBuf,
    out: PathBuf,
}

impl Plugin {
    /// Compiles it in the directory `dir`.
    pub fn build(dir: &Path) -> Result<Self> {
        let [source, library, out] = ["plugin.c", "plugin.so", "profile"].map(|n| dir.join(n));
        fs::write(&source, SOURCE)?;
        let gcc = Command::new("gcc")
            .args(["-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-fvisibility=hidden", "-o"])
            .args([&library, &source])
            .status()
            .context("gcc")?;
        ensure!(gcc.success(), "the plugin of qemu cannot be compiled");
        Ok(Plugin { library, out })
    }

    /// What qemu is to be told.
    pub fn argument(&self) -> String {
        format!("{},out={}", self.library.display(), self.out.display())
    }
}

/// Functions by the addresses where they begin.
#[derive(Default)]
struct Symbols(BTreeMap<u64, String>);

impl Symbols {
    /// Reads lines of an address, a kind and a name, as nm(1) and System.map have them;
    /// `base` is added to the addresses.
    fn add(&mut self, text: &str, base: u64) {
        for line in text.lines() {
            let mut words = line.splitn(3, ' ');
            let (Some(address), Some(kind), Some(name)) =
                (words.next(), words.next(), words.next())
            else {
                continue;
            };
            let Ok(address) = u64::from_str_radix(address, 16) else { continue };
            if kind.eq_ignore_ascii_case("t") || kind.eq_ignore_ascii_case("w") {
                self.0.entry(address.wrapping_add(base)).or_insert_with(|| name.into());
            }
        }
    }

    /// The function that an address is in.
    fn of(&self, address: u64) -> &str {
        let floor = if address < KERNEL { 0 } else { KERNEL };
        self.0.range(floor..=address).next_back().map_or("?", |(_, name)| name)
    }
}

/// Instructions by function, those of user space with a mark.
type Profile = BTreeMap<(Side, String), u64>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    User,
    Kernel,
}

/// What was executed between each two marks.
fn phases(text: &str, symbols: &Symbols) -> Result<Vec<Profile>> {
    let mut all = Vec::new();
    let mut now = Profile::new();
    for line in text.lines() {
        match line.split_once(' ') {
            Some((address, count)) => {
                let address = u64::from_str_radix(address, 16)?;
                let side = if address < KERNEL { Side::User } else { Side::Kernel };
                let function = (side, symbols.of(address).into());
                *now.entry(function).or_default() += count.parse::<u64>()?;
            }
            None if line == "end" => all.push(std::mem::take(&mut now)),
            None => bail!("the plugin says {line:?}: there were too many instructions"),
        }
    }
    Ok(all)
}

/// The shortest of the measurements of each row.
fn shortest(phases: Vec<Profile>, rows: usize) -> Result<Vec<Profile>> {
    ensure!(
        rows > 0 && !phases.is_empty() && phases.len().is_multiple_of(rows),
        "{} measurements of {rows} rows",
        phases.len()
    );
    let each = phases.len() / rows;
    Ok(phases
        .chunks(each)
        .filter_map(|row| row.iter().min_by_key(|profile| profile.values().sum::<u64>()).cloned())
        .collect())
}

/// The symbols of the running kernel, and of the program that measures, which stood
/// at the address that it said.
fn symbols(map: &Path, program: &Path, said: &str) -> Result<Symbols> {
    let mut symbols = Symbols::default();
    symbols.add(&fs::read_to_string(map).with_context(|| map.display().to_string())?, 0);
    let base = said.lines().find_map(|line| line.strip_prefix("program "));
    let base = u64::from_str_radix(base.context("the program does not say where it is")?, 16)?;
    // ET_EXEC: linked for where it is.
    let elf = fs::read(program)?;
    let base = if elf.get(16) == Some(&2) { 0 } else { base };
    let nm = Command::new("nm").args(["--demangle", "--defined-only"]).arg(program).output()?;
    symbols.add(&String::from_utf8_lossy(&nm.stdout), base);
    Ok(symbols)
}

/// Writes the profile of each row: a table for each operation and batch.
pub fn write(
    plugin: &Plugin,
    map: &Path,
    program: &Path,
    said: &str,
    costs: &[Cost],
    config: Config,
) -> Result<()> {
    let symbols = symbols(map, program, said)?;
    let rows: Vec<&Cost> = costs.iter().filter(|c| !c.operation.starts_with("cancel")).collect();
    let all = phases(&fs::read_to_string(&plugin.out)?, &symbols)?;
    let profiles = shortest(all, rows.len())?;
    let mut text = head(config);
    let mut last = None;
    for (row, profile) in rows.iter().zip(&profiles) {
        if !TOLD.contains(&row.interface.as_str()) {
            continue;
        }
        let table = (&row.operation, row.batch);
        if last != Some(table) {
            text += &format!("\n## {}, batch {}\n\n", table.0, table.1);
            text += "| interface | all | user | functions |\n|---|---:|---:|---|\n";
            last = Some(table);
        }
        text += &line(&row.interface, profile);
    }
    let path = crate::root().join(TABLE);
    fs::write(&path, text).with_context(|| path.display().to_string())?;
    println!("written: {TABLE}");
    Ok(())
}

/// What the file says before its tables.
fn head(config: Config) -> String {
    format!(
        "# Which functions take the instructions\n\n\
         Written by `cargo xtask bench --kernel {config} --profile`: how often each instruction of \
         kernel and\nprogram is executed, for one operation, by function; what is inlined is the \
         caller's. Of what\nis in all, `user` is the program and the library. Functions of less \
         than {LEAST} are not named.\n"
    )
}

/// A row's line: what all takes, what of it is in user space, and the functions, the
/// largest first.
fn line(interface: &str, profile: &Profile) -> String {
    let each = |count: u64| count as f64 / OPERATIONS as f64;
    let all: u64 = profile.values().sum();
    let mut functions: Vec<(Side, &str, f64)> =
        profile.iter().map(|((side, name), count)| (*side, name.as_str(), each(*count))).collect();
    functions.sort_by(|a, b| b.2.total_cmp(&a.2).then(a.1.cmp(b.1)));
    // Not the sum of f64, which is -0 for none.
    let sum = |all: &mut dyn Iterator<Item = f64>| all.fold(0.0, |sum, each| sum + each);
    let user = sum(&mut functions.iter().filter(|f| f.0 == Side::User).map(|f| f.2));
    let (told, rest): (Vec<_>, Vec<_>) = functions.iter().partition(|f| f.2 >= LEAST);
    let told: Vec<String> =
        told.iter().map(|(_, name, each)| format!("`{}` {each:.0}", short(name))).collect();
    let rest = sum(&mut rest.iter().map(|f| f.2));
    let all = each(all);
    format!("| {interface} | {all:.0} | {user:.0} | {}; others {rest:.0} |\n", told.join(", "))
}

/// A name without the hash that the compiler appends.
fn short(name: &str) -> &str {
    match name.rsplit_once("::h") {
        Some((short, hash)) if hash.len() == 16 => short,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbols() -> Symbols {
        let mut symbols = Symbols::default();
        symbols.add("ffffffff81000000 T entry\nffffffff81000100 t aio2_submit\n", 0);
        symbols.add("0000000000000010 t a::main::h0123456789abcdef\n20 D data\n", 0x5000);
        symbols
    }

    #[test]
    fn an_address_is_of_the_function_that_begins_before_it() {
        let symbols = symbols();
        assert_eq!(symbols.of(0xffff_ffff_8100_0104), "aio2_submit");
        assert_eq!(symbols.of(0xffff_ffff_8100_00ff), "entry");
        assert_eq!(short(symbols.of(0x5021)), "a::main");
        assert_eq!(symbols.of(0xffff_8000_0000_0000), "?", "the program has no such address");
    }

    #[test]
    fn the_shortest_measurement_of_a_row_counts() -> Result<()> {
        let text = "ffffffff81000100 5120\n5010 1024\nend\nffffffff81000101 9216\nend\n\
                    ffffffff81000100 4096\nend\nffffffff81000100 3072\n5011 2048\nend\n";
        assert_eq!(OPERATIONS, 512);
        let rows = shortest(phases(text, &symbols())?, 2)?;
        assert_eq!(
            line("x", &rows[0]),
            "| x | 12 | 2 | `aio2_submit` 10; others 2 |\n",
            "the other one had a tick in it"
        );
        assert_eq!(line("x", &rows[1]), "| x | 8 | 0 | `aio2_submit` 8; others 0 |\n");
        assert!(shortest(phases(text, &symbols())?, 3).is_err());
        Ok(())
    }

    #[test]
    fn a_plugin_that_had_no_room_is_no_profile() {
        assert!(phases("full\nend\n", &symbols()).is_err());
    }
}
