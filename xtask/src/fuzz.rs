//! `cargo xtask fuzz`: the fuzz targets, with sanitizers, for some time each.
//!
//! Their bodies are functions of the conformance crate, which `cargo test` runs
//! on the saved corpus.

use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};
use xshell::{Shell, cmd};

/// Which target, and for how long.
#[derive(clap::Args)]
pub struct Args {
    /// Target to run; all, one after the other, if not given
    target: Option<String>,
    /// Seconds for each
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Keep what was found new in the committed corpus, minimized
    #[arg(long)]
    save: bool,
    /// Instead: make this trace (or input of engine_ops) that fails as small as can be
    #[arg(long, value_name = "FILE", conflicts_with_all = ["target", "save"])]
    minimize: Option<PathBuf>,
}

/// Runs them.
///
/// # Errors
/// If one crashes, or cannot be built.
pub fn run(args: Args) -> anyhow::Result<()> {
    let sh = Shell::new()?;
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the project")?;
    sh.change_dir(root);
    if let Some(file) = args.minimize {
        // A trace that is to stay goes to tests/traces, with a word on why.
        let small = file.with_extension("small.trace");
        let program = ["run", "--quiet", "--package", "aio2-ccore", "--bin", "aio2-trace", "--"];
        cmd!(sh, "cargo {program...} minimize {file} {small}").quiet().run()?;
        return Ok(());
    }
    // libFuzzer needs flags that the stable compiler takes only so.
    sh.set_var("RUSTC_BOOTSTRAP", "1");
    if cmd!(sh, "cargo fuzz --version").quiet().ignore_stderr().run().is_err() {
        println!("installing cargo-fuzz");
        cmd!(sh, "cargo install cargo-fuzz --locked --quiet").quiet().run()?;
    }
    let all = targets(&root.join("fuzz/fuzz_targets"))?;
    let wanted = match args.target {
        Some(target) => {
            ensure!(all.contains(&target), "no target {target}: {}", all.join(", "));
            vec![target]
        }
        None => all,
    };
    cmd!(sh, "cargo fuzz build --fuzz-dir fuzz").quiet().run()?;
    for target in wanted {
        one(&sh, root, &target, args.seconds, args.save)?;
    }
    Ok(())
}

/// Names of the targets.
fn targets(dir: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in dir.read_dir().with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        if let Some(name) = path.file_stem().and_then(|n| n.to_str()) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn one(sh: &Shell, root: &Path, target: &str, seconds: u32, save: bool) -> anyhow::Result<()> {
    // What is found goes beside the build; the committed corpus is read only.
    let found: PathBuf = root.join("fuzz/target/corpus").join(target);
    sh.create_dir(&found)?;
    let committed = format!("fuzz/corpus/{target}");
    let time = format!("-max_total_time={seconds}");
    println!("fuzz: {target} for {seconds} s");
    cmd!(
        sh,
        "cargo fuzz run --fuzz-dir fuzz {target} {found} {committed} --
            {time} -max_len=1024 -print_final_stats=1"
    )
    .quiet()
    .run()
    .with_context(|| format!("{target} fails; its input is in fuzz/artifacts/{target}"))?;
    if save {
        cmd!(sh, "cargo fuzz cmin --fuzz-dir fuzz {target} {found}").quiet().run()?;
        for input in sh.read_dir(&found)? {
            sh.copy_file(&input, &committed)?;
        }
    }
    Ok(())
}
