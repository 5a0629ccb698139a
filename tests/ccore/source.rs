//! Takes ring.c, parse.c and their headers out of the kernel series, which is
//! the one source of them: for the build of the C core, and for the proofs.

use std::fs;
use std::path::Path;

/// The files, in `fs/aio2` of the kernel.
pub const FILES: [&str; 5] = ["port.h", "ring.h", "ring.c", "parse.h", "parse.c"];

/// Writes the files of the series in `patches` to `out`, which is made.
///
/// # Panics
/// If the series does not create each of them, or its patches do not apply.
pub fn write(patches: &Path, out: &Path) {
    let series = series(patches);
    fs::create_dir_all(out).expect("a directory for the files");
    for file in FILES {
        let path = format!("fs/aio2/{file}");
        let text = created(&series, &path)
            .unwrap_or_else(|| panic!("no patch of kernel-patch/series creates {path}"));
        let text = changes(&series, &path).skip(1).fold(text, |text, change| {
            let patch = diffy::Patch::from_str(change).unwrap_or_else(|e| panic!("{path}: {e}"));
            diffy::apply(&text, &patch).unwrap_or_else(|e| panic!("{path}: {e}"))
        });
        fs::write(out.join(file), text).expect("the file can be written");
    }
}

/// The text of a file that `series` creates; `None` if it creates no such file.
///
/// # Panics
/// If the patch does more to the file than to create it in one hunk.
fn created(series: &str, path: &str) -> Option<String> {
    let (_, patch) = series.split_once(&format!("diff --git a/{path} b/{path}\nnew file mode "))?;
    let hunk = patch.find("\n@@ -0,0 +").expect("a new file begins with a hunk from nothing");
    let mut lines = patch[hunk + 1..].lines();
    let count: usize = lines
        .next()
        .and_then(|line| line.strip_suffix(" @@")?.rsplit_once(',')?.1.parse().ok())
        .unwrap_or_else(|| panic!("{path}: the hunk's header has another form"));
    let text: Option<Vec<&str>> = lines.take(count).map(|line| line.strip_prefix('+')).collect();
    let text = text.unwrap_or_else(|| panic!("{path}: a line of the new file has no +"));
    assert_eq!(text.len(), count, "{path}: the hunk is cut off");
    Some(text.join("\n") + "\n")
}

/// What patches of `series` do to a file, one after the other, as unified diffs; the
/// first creates it.
fn changes<'s>(series: &'s str, path: &str) -> impl Iterator<Item = &'s str> {
    let head = format!("diff --git a/{path} b/{path}\n");
    let starts: Vec<usize> = series.match_indices(&head).map(|(at, _)| at + head.len()).collect();
    starts.into_iter().map(|start| {
        let change = &series[start..];
        // Of the next file, or the end of the patch, before its signature.
        let ends = ["\ndiff --git ", "\n-- \n"].map(|mark| change.find(mark));
        let end = ends.into_iter().flatten().min().map_or(change.len(), |end| end + 1);
        &change[..end]
    })
}

/// All patches of the series, in its order.
fn series(dir: &Path) -> String {
    let list = fs::read_to_string(dir.join("series")).expect("kernel-patch/series is readable");
    list.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|name| fs::read_to_string(dir.join(name)).unwrap_or_else(|e| panic!("{name}: {e}")))
        .collect()
}
