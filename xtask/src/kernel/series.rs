//! The series: what `kernel-patch/` holds, in order, and what it applies to.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// The source that the series applies to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// Debian package that has the source.
    pub package: String,
    /// Its version.
    pub version: String,
    /// Where the package puts the source.
    pub tarball: PathBuf,
}

/// The patches.
#[derive(Debug)]
pub struct Series {
    pub base: Base,
    /// In the order in which they apply.
    pub patches: Vec<PathBuf>,
    /// Of names and contents, in order.
    pub hash: String,
}

impl Base {
    /// Reads `BASE`: lines of a key and a value.
    fn parse(text: &str) -> Result<Self> {
        let value = |key: &str| {
            text.lines()
                .filter_map(|line| line.split_once(' '))
                .find(|(k, _)| *k == key)
                .map(|(_, v)| v.trim().to_owned())
                .with_context(|| format!("kernel-patch/BASE has no line \"{key} VALUE\""))
        };
        Ok(Base {
            package: value("package")?,
            version: value("version")?,
            tarball: value("tarball")?.into(),
        })
    }
}

impl Series {
    /// Reads the series in `dir`: the files that `series` names, in its
    /// order, or without such a file all that are named like `0001-….patch`,
    /// by number. Number 0000 is the cover letter.
    pub fn read(dir: &Path) -> Result<Self> {
        let base = dir.join("BASE");
        let base = fs::read_to_string(&base).with_context(|| base.display().to_string())?;
        let base = Base::parse(&base)?;
        let patches = match fs::read_to_string(dir.join("series")) {
            Ok(list) => listed(dir, &list)?,
            Err(_) => numbered(dir)?,
        };
        let mut hash = Sha256::new();
        for patch in &patches {
            hash.update(patch.file_name().unwrap_or_default().as_encoded_bytes());
            hash.update(fs::read(patch).with_context(|| patch.display().to_string())?);
        }
        Ok(Series { base, patches, hash: hex(&hash.finalize()) })
    }
}

/// The files that a list names.
fn listed(dir: &Path, list: &str) -> Result<Vec<PathBuf>> {
    let names = list.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    let patches: Vec<PathBuf> = names.map(|name| dir.join(name)).collect();
    if let Some(absent) = patches.iter().find(|p| !p.is_file()) {
        bail!("kernel-patch/series names {}, which is not there", absent.display());
    }
    let unlisted: Vec<_> = numbered(dir)?.into_iter().filter(|p| !patches.contains(p)).collect();
    if !unlisted.is_empty() {
        bail!("patches that kernel-patch/series does not name: {unlisted:?}");
    }
    Ok(patches)
}

/// The files of `dir` that are named as git format-patch does.
fn numbered(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut patches = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|n| n.to_str()) else { continue };
        let is_numbered = name.split_once('-').is_some_and(|(number, _)| {
            number.len() == 4 && number.bytes().all(|b| b.is_ascii_digit()) && number != "0000"
        });
        if is_numbered && name.ends_with(".patch") {
            patches.push(path);
        }
    }
    patches.sort();
    Ok(patches)
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(files: &[(&str, &str)]) -> Result<Series> {
        let dir = tempfile::tempdir()?;
        fs::write(dir.path().join("BASE"), "# why\npackage p\nversion 1-1\ntarball /t.tar\n")?;
        for (name, text) in files {
            fs::write(dir.path().join(name), text)?;
        }
        Series::read(dir.path())
    }

    #[test]
    fn patches_come_by_number_without_the_cover_letter() -> Result<()> {
        let s = series(&[
            ("0002-b.patch", "b"),
            ("0000-cover-letter.patch", ""),
            ("0001-a.patch", "a"),
            ("README.md", ""),
        ])?;
        let names: Vec<_> = s.patches.iter().filter_map(|p| p.file_name()).collect();
        assert_eq!(names, ["0001-a.patch", "0002-b.patch"]);
        assert_eq!((s.base.package.as_str(), s.base.version.as_str()), ("p", "1-1"));
        Ok(())
    }

    #[test]
    fn the_hash_changes_with_a_byte_of_a_patch_and_not_with_the_cover_letter() -> Result<()> {
        let hash = |a: &str, cover: &str| {
            series(&[("0001-a.patch", a), ("0000-cover-letter.patch", cover)]).map(|s| s.hash)
        };
        assert_ne!(hash("a", "")?, hash("b", "")?);
        assert_eq!(hash("a", "")?, hash("a", "new")?);
        Ok(())
    }

    #[test]
    fn a_list_and_the_files_must_agree() {
        assert!(series(&[("series", "0001-a.patch\n")]).is_err(), "names what is not there");
        assert!(series(&[("series", ""), ("0001-a.patch", "")]).is_err(), "leaves one out");
        assert!(series(&[("series", "0001-a.patch\n"), ("0001-a.patch", "")]).is_ok());
    }
}
