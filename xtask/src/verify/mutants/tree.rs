//! A copy of the project in which mutants are written and built.

use super::list::Mutant;
use super::schema::{Id, Schema};
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// All test programs.
const ALL: &str = "-p aio2-abi -p aio2 -p aio2-conformance --lib --tests";
/// What is built for a mutant on its own, until a test sees it: those that are
/// built fastest, those that see most, all.
pub const TARGETS: [&str; 3] = [
    "-p aio2-abi -p aio2 --lib",
    "-p aio2-abi -p aio2 -p aio2-conformance --lib --test engine",
    ALL,
];
/// The mutants of a copy that compile together, and those that do not at all.
const KEPT: &str = "left.json";
/// Which mutant is active, as the tests are told.
pub const VARIABLE: &str = "AIO2_MUTANT";
/// The file that tells which one it is.
const ROOT: &str = "abi/src/lib.rs";
/// A file in which a byte for each mutant tells that it was come across.
pub const REACHED: &str = "AIO2_REACHED";
/// What [`ACTIVE`] is made with.
const FEATURES: &str = "#![feature(core_intrinsics, const_eval_select)]\n";
/// Tells which mutant is active, and that one was come across. In a constant
/// none is.
const ACTIVE: &str = r#"
extern crate std;
#[doc(hidden)]
pub const fn mutant(here: u32) -> u32 {
    const fn none(_: u32) -> u32 {
        0
    }
    core::intrinsics::const_eval_select((here,), none, active)
}
fn active(here: u32) -> u32 {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
    static ACTIVE: AtomicU32 = AtomicU32::new(u32::MAX);
    static RECORDS: AtomicBool = AtomicBool::new(false);
    static SEEN: [AtomicBool; 1 << 13] = [const { AtomicBool::new(false) }; 1 << 13];
    if ACTIVE.load(Relaxed) == u32::MAX {
        let number = std::env::var("AIO2_MUTANT").ok().and_then(|n| n.parse().ok());
        RECORDS.store(std::env::var_os("AIO2_REACHED").is_some(), Relaxed);
        ACTIVE.store(number.unwrap_or(0), Relaxed);
    }
    if RECORDS.load(Relaxed) && !SEEN[here as usize].swap(true, Relaxed) {
        use std::os::unix::fs::FileExt;
        let path = std::env::var_os("AIO2_REACHED").unwrap_or_default();
        if let Ok(file) = std::fs::OpenOptions::new().write(true).open(path) {
            let _ = file.write_at(&[1], u64::from(here));
        }
    }
    ACTIVE.load(Relaxed)
}
"#;

/// The commit of HEAD.
fn head(root: &Path) -> Result<Vec<u8>> {
    let git = Command::new("git").current_dir(root).args(["rev-parse", "HEAD"]).output();
    let git = git.context("git")?;
    ensure!(git.status.success(), "git rev-parse fails");
    Ok(git.stdout)
}

/// Unpacks HEAD into `dir`.
fn extract(root: &Path, dir: &Path) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.arg("-x").arg("-C").arg(dir).stdin(Stdio::piped());
    let mut tar = tar.spawn().context("tar")?;
    let mut git = Command::new("git");
    git.current_dir(root).args(["archive", "HEAD"]);
    git.stdout(tar.stdin.take().context("it is piped")?);
    ensure!(git.status().context("git")?.success(), "git archive fails");
    // Ours is the last end of the pipe.
    drop(git);
    ensure!(tar.wait()?.success(), "tar fails");
    Ok(())
}

/// A test program.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Program {
    /// Package and target.
    pub name: String,
    /// The executable.
    pub path: PathBuf,
    /// Where it is to be run.
    pub dir: PathBuf,
}

/// An error of the compiler: file, byte, and what it says.
struct CompileError {
    places: Vec<(String, usize)>,
    text: String,
}

/// Programs with mutants in them.
pub struct Built {
    /// The programs.
    pub programs: Vec<Program>,
    /// Those that are in them, each with the one that stands for its place.
    pub leaders: BTreeMap<Id, Id>,
    /// Those of them that are in a `const fn`.
    pub at_run_time: BTreeSet<Id>,
    /// Those that do not compile.
    pub wrong: BTreeSet<Id>,
}

/// The copy.
pub struct Tree {
    target: PathBuf,
    path: PathBuf,
}

impl Tree {
    /// Copies HEAD: what is not committed is not seen. A copy that is there is
    /// taken, so that nothing is built again.
    ///
    /// # Errors
    /// If that cannot be done.
    pub fn new(root: &Path) -> Result<Self> {
        let target = root.join("target/mutants");
        let tree = Tree { path: target.join("tree"), target };
        let (head, copied) = (head(root)?, tree.target.join("commit"));
        if fs::read(&copied).is_ok_and(|commit| commit == head) {
            return Ok(tree);
        }
        for file in [&copied, &tree.target.join(KEPT)] {
            // It is not there the first time.
            let _ = fs::remove_file(file);
        }
        for dir in [tree.clean(), tree.path.clone()] {
            // It is not there the first time.
            let _ = fs::remove_dir_all(&dir);
            fs::create_dir_all(&dir)?;
            extract(root, &dir)?;
        }
        fs::write(copied, head)?;
        Ok(tree)
    }

    /// Where the sources stand without a mutant.
    pub fn clean(&self) -> PathBuf {
        self.target.join("clean")
    }

    /// Writes `file`, unless it stands there: what is not written is not built.
    fn write(&self, file: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path.join(file);
        if fs::read(&path).is_ok_and(|there| there == bytes) {
            return Ok(());
        }
        fs::create_dir_all(path.parent().context("a file has a directory")?)?;
        fs::write(&path, bytes).with_context(|| path.display().to_string())
    }

    fn source(&self, file: &str) -> Result<String> {
        fs::read_to_string(self.clean().join(file)).with_context(|| file.to_owned())
    }

    /// Writes `file` as it is, with what all of the schema's texts call.
    fn write_source(&self, file: &str, text: &str) -> Result<()> {
        let (begin, end) = match file {
            ROOT => (FEATURES, ACTIVE),
            "userspace/src/lib.rs" => ("", "\n#[doc(hidden)]\npub use aio2_abi::mutant;\n"),
            _ => ("", ""),
        };
        self.write(file, format!("{begin}{text}{end}").as_bytes())
    }

    /// Builds the programs with as many of `mutants` as can be in one text, and
    /// tells which these are, and which are no Rust.
    ///
    /// # Errors
    /// If it does not build for another reason than a mutant.
    pub fn build_all(&self, mutants: &[Mutant]) -> Result<Built> {
        let kept = self.target.join(KEPT);
        let before = fs::read(&kept).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let (mut left, mut wrong): (BTreeSet<Id>, BTreeSet<Id>) =
            before.unwrap_or_else(|| (mutants.iter().map(|m| m.id).collect(), BTreeSet::new()));
        let files: BTreeSet<&str> = mutants.iter().map(|mutant| mutant.file.as_str()).collect();
        for file in [ROOT, "userspace/src/lib.rs"] {
            self.write_source(file, &self.source(file)?)?;
        }
        loop {
            let mut schemata = BTreeMap::new();
            for file in &files {
                let here: Vec<&Mutant> =
                    mutants.iter().filter(|m| m.file == *file && left.contains(&m.id)).collect();
                let schema = Schema::new(&self.source(file)?, &here)?;
                wrong.extend(&schema.wrong);
                self.write_source(file, &schema.text)?;
                schemata.insert(*file, schema);
            }
            left = schemata.values().flat_map(Schema::ids).collect();
            println!("building {} mutants", left.len());
            let errors = match self.build(ALL)? {
                Ok(programs) => {
                    fs::write(kept, serde_json::to_vec(&(left, &wrong))?)?;
                    let leaders = schemata.values().flat_map(Schema::leaders).collect();
                    let at_run_time = schemata.values().flat_map(|s| s.at_run_time.clone());
                    let at_run_time = at_run_time.collect();
                    return Ok(Built { programs, leaders, at_run_time, wrong });
                }
                Err(errors) => errors,
            };
            let before = left.len();
            for (file, at) in errors.iter().flat_map(|error| &error.places) {
                let Some(schema) = schemata.get(file.as_str()) else { continue };
                let begin = if file == ROOT { FEATURES.len() } else { 0 };
                let (ids, by_itself) = schema.blamed(at.saturating_sub(begin));
                left.retain(|id| !ids.contains(id));
                if by_itself {
                    wrong.extend(ids);
                }
            }
            if left.len() == before {
                bail!("no mutant's fault: {}", errors.first().map_or("", |e| e.text.as_str()));
            }
        }
    }

    /// Builds the programs of `targets` without a mutant.
    ///
    /// # Errors
    /// If they do not build.
    pub fn build_none(&self, mutants: &[Mutant], targets: &str) -> Result<Vec<Program>> {
        let files: BTreeSet<&str> = mutants.iter().map(|mutant| mutant.file.as_str()).collect();
        files.iter().try_for_each(|file| self.write_source(file, &self.source(file)?))?;
        self.build(targets)?.ok().context("it builds without a mutant")
    }

    /// Builds the programs of `targets` with `mutant` alone; none if that does
    /// not build.
    ///
    /// # Errors
    /// If the tree cannot be written.
    pub fn build_one(&self, mutant: &Mutant, targets: &str) -> Result<Option<Vec<Program>>> {
        let source = self.source(&mutant.file)?;
        let range = mutant.span.range(&source);
        let text =
            format!("{}{}{}", &source[..range.start], mutant.replacement, &source[range.end..]);
        self.write_source(&mutant.file, &text)?;
        let built = self.build(targets)?;
        self.write_source(&mutant.file, &source)?;
        Ok(built.ok())
    }

    fn build(&self, targets: &str) -> Result<Result<Vec<Program>, Vec<CompileError>>> {
        let mut command = Command::new(env!("CARGO"));
        command.current_dir(&self.path).args(["test", "--no-run", "--no-fail-fast"]);
        command.args(["--message-format", "json"]).args(targets.split(' '));
        command.env("RUSTFLAGS", "--cap-lints=allow -Cdebuginfo=0");
        command.env("RUSTC_BOOTSTRAP", "aio2_abi");
        command.env("CARGO_TARGET_DIR", self.target.join("build"));
        let out = command.output().context("cargo test --no-run")?;
        let said = String::from_utf8(out.stdout)?;
        let messages: Vec<Value> =
            said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        if out.status.success() {
            return Ok(Ok(messages.iter().filter_map(program).collect()));
        }
        let errors: Vec<_> = messages.iter().filter_map(compile_error).collect();
        ensure!(!errors.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
        Ok(Err(errors))
    }
}

fn program(message: &Value) -> Option<Program> {
    let path = PathBuf::from(message["executable"].as_str()?);
    if !message["profile"]["test"].as_bool()? {
        return None;
    }
    let dir = Path::new(message["manifest_path"].as_str()?).parent()?.to_owned();
    let package = dir.file_name()?.to_string_lossy().into_owned();
    let name = format!("{package} {}", message["target"]["name"].as_str()?);
    Some(Program { name, path, dir })
}

fn compile_error(message: &Value) -> Option<CompileError> {
    let message = &message["message"];
    if message["level"].as_str()? != "error" {
        return None;
    }
    let place = |span: &Value| {
        let file = span["file_name"].as_str()?.to_owned();
        Some((file, usize::try_from(span["byte_start"].as_u64()?).ok()?))
    };
    let places = message["spans"].as_array()?.iter().filter_map(place).collect();
    Some(CompileError { places, text: message["rendered"].as_str()?.to_owned() })
}
