//! `cargo xtask verify --proofs`: the kernel's parser and ring, by Frama-C.
//!
//! The files are those that the series creates, taken out as for the C core;
//! the annotations of their loops are woven into the copies, since the kernel's
//! sources have none. What is proved, and what it assumes, stands in
//! `tests/proofs/README.md`.

use crate::packages::{self, Unavailable};
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use xshell::Shell;

#[path = "../../../tests/ccore/source.rs"]
mod source;

/// What is proved, and what that assumes.
const ASSUMPTIONS: &str = "tests/proofs/README.md";
/// Where the annotated copies lie.
const OUT: &str = "target/proofs";
/// How long a run may take, in seconds.
const SECONDS: &str = "600";
/// How long a prover may take for a goal, in seconds: all need less than two.
const GOAL_SECONDS: &str = "60";
/// The same where a goal is expected to fail.
const PLANTED_SECONDS: &str = "5";

/// One run of Frama-C.
#[derive(Clone, Copy)]
struct Proof {
    what: &'static str,
    /// The file of `tests/proofs` that has the contracts.
    file: &'static str,
    args: &'static [&'static str],
}

const ACCEPTS: Proof = Proof {
    what: "parse.c accepts what R-IOCB-3 to 9 say (WP)",
    file: "prove_parse.c",
    args: &["-wp", "-wp-fct", "aio2_parse_len,parse_attrs,aio2_parse_iocb"],
};
const ARITHMETIC: Proof = Proof {
    what: "parse.c overflows nowhere (WP)",
    file: "prove_parse.c",
    args: &[
        "-wp",
        "-wp-fct",
        "aio2_parse_len,parse_attrs,aio2_parse_iocb",
        "-wp-rte",
        "-rte-no-mem",
        "-wp-prop",
        "rte",
        "-warn-unsigned-overflow",
        "-warn-unsigned-downcast",
        "-warn-signed-downcast",
    ],
};
const MEMORY: Proof = Proof {
    what: "ring.c with any pages, each size (Eva)",
    file: "prove_ring.c",
    args: &[
        "-eva",
        "-main",
        "any_ring",
        "-eva-no-alloc-returns-null",
        "-eva-alloc-builtin",
        "fresh",
        "-eva-no-show-progress",
        "-warn-signed-downcast",
    ],
};
const PUBLISHES: Proof = Proof {
    what: "ring.c keeps R-RING-4, 6, 7, 8, 14 (WP)",
    file: "prove_ring.c",
    args: &[
        "-wp",
        "-wp-fct",
        "ring_used,event_len,aio2_ring_flag,aio2_ring_push,aio2_ring_count,aio2_ring_peek",
    ],
};
const PROOFS: [Proof; 4] = [ACCEPTS, ARITHMETIC, MEMORY, PUBLISHES];

/// A fault that a proof has to fail on: `from` becomes `to`.
struct Planted {
    file: &'static str,
    from: &'static str,
    to: &'static str,
    proof: Proof,
    /// The property that is not kept then, if WP is asked.
    property: Option<&'static str>,
}

const PLANTED: [Planted; 6] = [
    Planted {
        file: "parse.c",
        from: "attr->len & 7 || attr->len > left)",
        to: "attr->len & 7)",
        proof: ACCEPTS,
        property: Some("well_formed"),
    },
    Planted {
        file: "parse.c",
        from: "attr->id > AIO2_ATTR_ID_MAX)",
        to: "attr->id > AIO2_ATTR_ID_MAX + 1)",
        proof: ACCEPTS,
        property: Some("well_formed"),
    },
    Planted {
        file: "parse.c",
        from: "	if (fixed > iocb->len)\n		return -EINVAL;\n",
        to: "",
        proof: ACCEPTS,
        property: Some("head"),
    },
    Planted {
        file: "ring.c",
        from: "to = (u64 *)(ring->data + (ring->tail & (ring->size - 1)));",
        to: "to = (u64 *)(ring->data + ring->tail);",
        proof: MEMORY,
        property: None,
    },
    Planted {
        file: "ring.c",
        from: "	if (len > ring->size - used)\n",
        to: "	if (len > ring->size)\n",
        proof: PUBLISHES,
        property: Some("R_RING_7"),
    },
    Planted {
        file: "ring.c",
        from: "	    len > AIO2_EVENT_MAX || len > left)\n",
        to: "	    len > AIO2_EVENT_MAX)\n",
        proof: PUBLISHES,
        property: Some("R_RING_14"),
    },
];

/// What a run of Frama-C said.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// Goals that were proved, and all.
    Goals(u64, u64),
    /// Alarms, and statements that were gone through, of how many.
    Alarms(u64, u64, u64),
}

impl Said {
    fn is_good(&self) -> bool {
        match self {
            Said::Goals(proved, all) => proved == all && *all > 0,
            Said::Alarms(alarms, reached, all) => *alarms == 0 && reached == all && *all > 0,
        }
    }
}

/// Proves all, and sees each planted fault fail; in short what was proved, or SKIP
/// where Frama-C cannot be had.
///
/// # Errors
/// If there is an alarm, a goal is not proved, or a fault is not found.
pub fn run(root: &Path) -> Result<String> {
    let sh = Shell::new()?;
    match packages::for_proofs(&sh) {
        Err(error) if error.is::<Unavailable>() => {
            return Ok(format!("SKIP proofs: {error}"));
        }
        other => other?,
    }
    let out = root.join(OUT);
    prepare(root, &out)?;
    weave(root, &out, None)?;
    println!("{:<48} {:>22} {:>5}", "proof", "", "s");
    let (mut failed, mut goals, mut alarms) = (0, 0, 0);
    for proof in PROOFS {
        let start = Instant::now();
        let (said, text) = frama_c(root, &out, &proof, None)?;
        let row = match said {
            Said::Goals(proved, all) => {
                goals += proved;
                format!("{proved} of {all} goals")
            }
            Said::Alarms(found, reached, _) => {
                alarms += found;
                format!("{found} alarms in {reached} st.")
            }
        };
        println!("{:<48} {row:>22} {:>5}", proof.what, start.elapsed().as_secs());
        if !said.is_good() {
            failed += 1;
            let told = |line: &&str| {
                ["alarm", "Failed", "Timeout", "assert"].iter().any(|word| line.contains(word))
            };
            text.lines().filter(told).for_each(|line| println!("    {line}"));
        }
    }
    let mut missed = 0;
    for bug in &PLANTED {
        weave(root, &out, Some(bug))?;
        let (said, _) = frama_c(root, &out, &bug.proof, Some(bug))?;
        if said.is_good() {
            missed += 1;
            println!("NOT FOUND: {} with `{}`", bug.file, bug.to.trim());
        }
    }
    let planted = PLANTED.len();
    let found = planted - missed;
    println!("planted in them: {found} of {planted} found");
    ensure!(failed == 0, "{failed} proofs fail");
    ensure!(missed == 0, "{missed} planted faults are not found");
    let assumed = fs::read_to_string(root.join(ASSUMPTIONS))?;
    let assumed = assumptions(&assumed);
    Ok(format!(
        "proofs: {goals} goals proved, {alarms} alarms, {assumed} assumptions ({ASSUMPTIONS}), \
         {found} of {planted} planted faults found"
    ))
}

/// The numbered points of the page that says what the proofs assume.
fn assumptions(page: &str) -> usize {
    let (_, list) = page.split_once("## What that assumes").unwrap_or_default();
    list.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).count()
}

/// Tells Why3 which provers there are.
fn prepare(root: &Path, out: &Path) -> Result<()> {
    source::write(&root.join("kernel-patch"), &out.join("source"));
    let config = out.join("why3.conf");
    let mut why3 = Command::new("why3");
    why3.args(["config", "detect", "-C"]).arg(&config);
    let said = why3.output().context("why3")?;
    ensure!(said.status.success(), "why3: {}", String::from_utf8_lossy(&said.stderr));
    Ok(())
}

/// Writes the annotated copies, with a fault if one is given.
fn weave(root: &Path, out: &Path, bug: Option<&Planted>) -> Result<()> {
    let woven = out.join("include/aio2");
    fs::create_dir_all(&woven)?;
    for file in source::FILES {
        let mut text = fs::read_to_string(out.join("source").join(file))?;
        let annotations = root.join("tests/proofs").join(Path::new(file).with_extension("weave"));
        if file.ends_with(".c") {
            text = annotated(&text, &fs::read_to_string(&annotations)?)
                .with_context(|| format!("{}: the code has changed", annotations.display()))?;
        }
        if let Some(bug) = bug.filter(|bug| bug.file == file) {
            ensure!(text.matches(bug.from).count() == 1, "{file} has not once `{}`", bug.from);
            text = text.replacen(bug.from, bug.to, 1);
        }
        fs::write(woven.join(file), text)?;
    }
    Ok(())
}

/// `text` with each annotation before its line, which there must be one of:
/// `%% before LINE`, and below it the annotation.
fn annotated(text: &str, annotations: &str) -> Result<String> {
    let mut text = text.to_owned();
    for part in annotations.split("%% before ").skip(1) {
        let (line, annotation) = part.split_once('\n').context("an annotation has a line")?;
        let count = text.lines().filter(|other| *other == line).count();
        ensure!(count == 1, "`{}` stands there {count} times", line.trim());
        let before = |other: &str| if other == line { annotation } else { "" };
        text = text.lines().flat_map(|other| [before(other), other, "\n"]).collect();
    }
    Ok(text)
}

fn frama_c(
    root: &Path,
    out: &Path,
    proof: &Proof,
    bug: Option<&Planted>,
) -> Result<(Said, String)> {
    let proofs = root.join("tests/proofs");
    let include = |dir: PathBuf| format!("-I{} ", dir.display());
    let mut cpp = include(out.join("include"));
    cpp += &include(root.join("abi/include"));
    cpp += &include(proofs.join("include"));
    cpp += &format!("-include {}", proofs.join("loads.h").display());
    let mut command = Command::new("timeout");
    command.args(["--kill-after=10", SECONDS, "frama-c", "-machdep", "gcc_x86_64"]);
    command.arg(format!("-cpp-extra-args={cpp}")).arg(proofs.join(proof.file)).args(proof.args);
    if proof.args.contains(&"-wp") {
        command.args(["-wp-model", "Typed+Cast", "-wp-prover", "CVC4,Z3", "-wp-par", "2"]);
        command.args(["-wp-timeout", if bug.is_some() { PLANTED_SECONDS } else { GOAL_SECONDS }]);
    }
    if let Some(property) = bug.and_then(|bug| bug.property) {
        command.args(["-wp-prop", property]);
    }
    command.env("WHY3CONFIG", out.join("why3.conf")).current_dir(out);
    let said = command.output().context("frama-c")?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    let Some(found) = result(&text) else {
        let errors = String::from_utf8_lossy(&said.stderr);
        bail!("{}: frama-c says no result ({}):\n{text}{errors}", proof.what, said.status);
    };
    Ok((found, text))
}

/// The closing lines of Frama-C.
fn result(text: &str) -> Option<Said> {
    if let Some(line) = text.lines().find_map(|line| line.split_once("Proved goals:")) {
        let (proved, all) = line.1.split_once('/')?;
        return Some(Said::Goals(proved.trim().parse().ok()?, all.trim().parse().ok()?));
    }
    let line = |what: &str| text.lines().find(|line| line.contains(what)).map(str::trim);
    let number = |word: &str| word.parse::<u64>().ok();
    let alarms = line("generated by the analysis")?.split_whitespace().next()?;
    let alarms = if alarms == "No" { 0 } else { number(alarms)? };
    let (_, reached) = line("statements reached")?.split_once("In these functions, ")?;
    let (reached, all) = reached.split_once(" statements reached (out of ")?;
    Some(Said::Alarms(alarms, number(reached)?, number(all.split_once(')')?.0)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_frama_c_are_understood() {
        let said = result("x\n[wp] Proved goals:   98 / 99\n  Qed: 70\n");
        assert_eq!(said, Some(Said::Goals(98, 99)));
        assert!(!Said::Goals(98, 99).is_good() && !Said::Goals(0, 0).is_good());
        let eva = "  In these functions, 24 statements reached (out of 87): 27% coverage.\n  1 alarm generated by the analysis:\n";
        assert_eq!(result(eva), Some(Said::Alarms(1, 24, 87)));
        let eva = "  In these functions, 87 statements reached (out of 87): 100% coverage.\n  No alarms generated by the analysis.\n";
        assert!(result(eva).is_some_and(|said| said.is_good()));
        assert_eq!(result("aborted"), None);
    }

    #[test]
    fn assumptions_are_counted() {
        let page = fs::read_to_string(crate::root().join(ASSUMPTIONS)).unwrap();
        assert!(assumptions(&page) > 0);
        assert_eq!(assumptions("1. a\n## What that assumes\n\n1. b\n   c\n2. d\n"), 2);
    }

    #[test]
    fn annotations_and_faults_have_their_place() {
        let out = tempfile::tempdir().unwrap();
        source::write(&crate::root().join("kernel-patch"), &out.path().join("source"));
        weave(crate::root(), out.path(), None).unwrap();
        for bug in &PLANTED {
            weave(crate::root(), out.path(), Some(bug)).unwrap();
        }
        assert!(annotated("a\nb\nb\n", "%% before b\nx\n").is_err());
        assert_eq!(annotated("a\nb\n", "%% before b\nx\n").unwrap(), "a\nx\nb\n");
    }
}
