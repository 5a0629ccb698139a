//! The command's copy of a tree of small files, beside `cp -r`.

use super::results::Measured;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Its name.
pub const WORK: &str = "copy of a tree of small files";

/// Copies a tree of so many files within `scratch` in turns, after a first time.
pub fn compare(scratch: &Path, files: usize, rounds: usize) -> Result<Vec<Measured>> {
    let args = ["build", "--release", "-p", "aio2-cli", "--bin", "aio2"];
    let command = crate::bench::budget::program(&args, "aio2")?;
    let dir = tempfile::tempdir_in(scratch)?;
    let from = dir.path().join("from");
    for number in 0..files {
        let sub = from.join(format!("d{}", number / 100));
        if number % 100 == 0 {
            fs::create_dir_all(&sub)?;
        }
        fs::write(sub.join(format!("f{number}")), vec![b'x'; 1024 + number % 3072])?;
    }
    let ways: [(&str, &Path, &[&str]); 2] = [
        ("cp -r", Path::new("cp"), &["-r"]),
        ("aio2 cp -r --no-sync", &command, &["cp", "-r", "--no-sync"]),
    ];
    let mut all = ways.map(|(name, ..)| Measured {
        bench: "tree".into(),
        work: WORK.into(),
        contender: name.into(),
        depth: files,
        ..Measured::default()
    });
    for round in 0..=rounds {
        for ((name, program, args), measured) in ways.iter().zip(&mut all) {
            let to = dir.path().join("to");
            let begun = Instant::now();
            let status = Command::new(program)
                .args(*args)
                .arg(&from)
                .arg(&to)
                .stdout(Stdio::null())
                .status();
            let took = begun.elapsed().as_nanos() as f64 / files as f64;
            ensure!(status.context(*name)?.success(), "{name} failed");
            fs::remove_dir_all(&to)?;
            if round > 0 {
                measured.wall_ns.push(took);
            }
        }
    }
    Ok(all.into())
}
