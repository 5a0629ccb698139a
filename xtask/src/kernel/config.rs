//! The configurations: fragments over tinyconfig, and whether they took.

use super::Workshop;
use anyhow::{Context, Result, bail};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A configuration to build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Config {
    /// The smallest kernel that runs the suite
    Minimal,
    /// What numbers are taken on
    Perf,
    /// KASAN, lockdep, atomic sleep, UBSAN, leak detection, fault injection
    Debug,
    /// The data race detector
    Kcsan,
}

impl Config {
    pub const fn name(self) -> &'static str {
        match self {
            Config::Minimal => "minimal",
            Config::Perf => "perf",
            Config::Debug => "debug",
            Config::Kcsan => "kcsan",
        }
    }

    /// How long a guest may take for all there is to run: several times what it
    /// takes, since it is translated, and not alone on its host.
    pub const fn patience(self) -> Duration {
        Duration::from_secs(match self {
            Config::Minimal | Config::Perf => 900,
            Config::Debug | Config::Kcsan => 5400,
        })
    }

    /// How many times as long anything may take there: `AIO2_SLOWNESS` of the suite.
    pub const fn slowness(self) -> u32 {
        match self {
            Config::Minimal | Config::Perf => 1,
            Config::Debug | Config::Kcsan => 4,
        }
    }

    /// What its command line has. On translated processors, which are not alone,
    /// the other one moves only if it is waited for longer.
    pub const fn append(self) -> &'static str {
        match self {
            Config::Kcsan => "kcsan.udelay_task=1000 kcsan.udelay_interrupt=100",
            _ => "",
        }
    }

    /// Its fragments, the later ones winning.
    pub fn fragments(self, shop: &Workshop) -> Vec<PathBuf> {
        let file = |name: &str| shop.patches().join("configs").join(format!("{name}.config"));
        match self {
            Config::Minimal => vec![file("minimal")],
            _ => vec![file("minimal"), file(self.name())],
        }
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text of all fragments, one after another.
pub fn text(fragments: &[PathBuf]) -> Result<String> {
    let mut text = String::new();
    for path in fragments {
        text += &std::fs::read_to_string(path)
            .with_context(|| format!("configuration fragment {}", path.display()))?;
    }
    Ok(text)
}

/// Checks that `.config` in `build` has every value that `fragments` ask for:
/// kconfig drops what depends on something missing without an error.
///
/// `absent` is a prefix of symbols that the source need not have.
pub fn verify(build: &Path, fragments: &str, absent: Option<&str>) -> Result<()> {
    let path = build.join(".config");
    let actual = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let lost = lost(fragments, &actual, absent);
    if lost.is_empty() {
        return Ok(());
    }
    bail!(
        "{} lacks what the fragments ask for, for want of a dependency: {}",
        path.display(),
        lost.join(" ")
    )
}

/// The settings of `wanted` that `actual` does not have.
fn lost<'a>(wanted: &'a str, actual: &str, absent: Option<&str>) -> Vec<&'a str> {
    let settings: Vec<(&str, &str)> = wanted.lines().filter_map(|l| l.split_once('=')).collect();
    let mut lost = Vec::new();
    for (i, (symbol, value)) in settings.iter().enumerate() {
        let overridden = settings[i + 1..].iter().any(|(later, _)| later == symbol);
        if overridden || absent.is_some_and(|prefix| symbol.starts_with(prefix)) {
            continue;
        }
        let line = format!("{symbol}={value}");
        let is_set = |l: &str| l.split_once('=').is_some_and(|(s, _)| s == *symbol);
        let met = match *value {
            "n" => !actual.lines().any(is_set),
            _ => actual.lines().any(|l| l == line),
        };
        if !met {
            lost.push(*symbol);
        }
    }
    lost
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_kconfig_dropped_is_lost() {
        let wanted = "# why\nCONFIG_KASAN=y\nCONFIG_TINY=n\nCONFIG_N=3\nCONFIG_AIO2=y\n";
        let tried = |actual| lost(wanted, actual, Some("CONFIG_AIO2"));
        assert_eq!(tried("CONFIG_KASAN=y\n# CONFIG_TINY is not set\nCONFIG_N=3\n"), [""; 0]);
        assert_eq!(
            tried("CONFIG_KASAN_X=y\nCONFIG_TINY=y\nCONFIG_N=33\n"),
            ["CONFIG_KASAN", "CONFIG_TINY", "CONFIG_N"]
        );
        assert_eq!(lost(wanted, "", None), ["CONFIG_KASAN", "CONFIG_N", "CONFIG_AIO2"]);
    }

    #[test]
    fn a_later_fragment_wins() {
        assert_eq!(lost("CONFIG_A=n\nCONFIG_A=y\n", "CONFIG_A=y\n", None), [""; 0]);
    }
}
