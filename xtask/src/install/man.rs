//! Manual pages: those that are written by hand in `man/`, those of the commands by
//! the command itself, and those of the drop-ins from their tables of deviations.

use aio2_link::{LIBAIO, POSIX, Recipe};
use anyhow::{Context, Result};
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The drop-ins that have a table, and what their pages are called.
const DROP_INS: [(Recipe, &str, &str); 2] = [
    (LIBAIO, "aio2-libaio", "where the drop-in for libaio differs from the original"),
    (POSIX, "aio2-posix", "where the drop-in for POSIX AIO differs from the C library's"),
];

/// Writes all pages and completions below `share`; `aio2` is the command.
pub fn install(root: &Path, aio2: &Path, share: &Path) -> Result<()> {
    let made = Command::new(aio2).arg("pages").arg(share).status()?;
    anyhow::ensure!(made.success(), "aio2 pages: {made}");
    for page in fs::read_dir(root.join("man"))? {
        let path = page?.path();
        let text = fs::read_to_string(&path)?;
        let name = path.file_name().context("a page has a name")?.to_string_lossy();
        let (first, section) = name.split_once('.').context("a page has a section")?;
        write(share, first, section, &text)?;
        // The other functions of a page are found there.
        let names = text.lines().filter_map(|line| line.strip_prefix(".Nm "));
        for other in names.map(|name| name.trim_end_matches(" ,")).filter(|name| *name != first) {
            write(share, other, section, &format!(".so man{section}/{name}\n"))?;
        }
    }
    for (drop_in, name, about) in DROP_INS {
        let path = root.join(drop_in.dir).join("DEVIATIONS.md");
        let table = fs::read_to_string(&path)?;
        let page = deviations(&table, name, about).with_context(|| path.display().to_string())?;
        write(share, name, "7", &page)?;
    }
    Ok(())
}

fn write(share: &Path, name: &str, section: &str, text: &str) -> Result<()> {
    let dir = share.join(format!("man/man{section}"));
    fs::create_dir_all(&dir)?;
    let path = dir.join(format!("{name}.{section}"));
    fs::write(&path, text).with_context(|| path.display().to_string())
}

/// A page from a table of deviations, and the paragraphs around it.
fn deviations(markdown: &str, name: &str, about: &str) -> Result<String> {
    let mut page = format!(
        ".Dd November 30, 2026\n.Dt {} 7\n.Os\n.Sh NAME\n.Nm {name}\n.Nd {about}\n.Sh DESCRIPTION\n",
        name.to_uppercase()
    );
    let mut columns: Option<Vec<String>> = None;
    let (mut in_table, mut between) = (false, true);
    for line in markdown.lines().skip_while(|line| !line.starts_with("# ")).skip(1) {
        let cells = line.strip_prefix('|').and_then(|line| line.strip_suffix('|'));
        match cells.map(|cells| cells.split('|').map(|cell| plain(cell.trim())).collect()) {
            Some(cells) if columns.is_none() => columns = Some(cells),
            Some(cells) if cells.iter().all(|cell: &String| cell.trim_matches('-').is_empty()) => {
                page.push_str(".Bl -tag -width Ds\n");
                in_table = true;
            }
            Some(cells) => {
                let columns = columns.as_ref().context("a table has a head")?;
                anyhow::ensure!(cells.len() == columns.len(), "{line}");
                writeln!(page, ".It {}", cells[0])?;
                for (column, cell) in columns.iter().zip(&cells).skip(1) {
                    if !cell.is_empty() {
                        writeln!(page, ".Em {column} :\n{cell}\n.br")?;
                    }
                }
            }
            None => {
                if std::mem::take(&mut in_table) {
                    page.push_str(".El\n");
                }
                if line.is_empty() {
                    between = true;
                } else {
                    if std::mem::take(&mut between) && !page.ends_with(".Sh DESCRIPTION\n") {
                        page.push_str(".Pp\n");
                    }
                    writeln!(page, "{}", plain(line))?;
                }
            }
        }
    }
    if in_table {
        page.push_str(".El\n");
    }
    page.push_str(".Sh SEE ALSO\n.Xr aio2-run 1 ,\n.Xr aio2 7\n");
    Ok(page.replace(".Pp\n.Bl", ".Bl").replace(".br\n.It", ".It").replace(".br\n.El", ".El"))
}

/// Text without Markdown, and nothing in it that roff would take for its own.
fn plain(markdown: &str) -> String {
    let text = markdown.replace('`', "").replace('\\', "\\e").replace("- ", "\\- ");
    // A sentence begins a line.
    let text = text.replace(". ", ".\n");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::deviations;

    #[test]
    fn a_table_becomes_a_list() {
        let table =
            "# T\n\nBefore.\n\n| what | theirs | ours |\n|---|---|---|\n| a | `b` | |\n\nEnd.\n";
        let page = deviations(table, "name", "about").unwrap();
        let list = ".Bl -tag -width Ds\n.It a\n.Em theirs :\nb\n.El\n.Pp\nEnd.\n";
        assert!(page.contains(list), "{page}");
        assert!(deviations("# T\n| a | b |\n|---|---|\n| c |\n", "n", "a").is_err());
    }
}
