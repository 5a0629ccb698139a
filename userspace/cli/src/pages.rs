//! `aio2 pages`: manual pages and completions, from the command's own definition.
//!
//! Hidden: it is for who installs the command.

use crate::args::{Cli, PagesArgs};
use crate::exit::{Exit, Trouble};
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use std::fs;
use std::path::Path;

/// Writes them below a directory, where an installation has them.
pub fn run(args: &PagesArgs) -> Result<Exit, Trouble> {
    let failed = |e: std::io::Error| Trouble::new(format!("{}: {e}", args.dir.display()));
    let mut command = Cli::command();
    command.build();
    pages(&command, &args.dir.join("man/man1")).map_err(failed)?;
    for (shell, dir) in [
        (Shell::Bash, "bash-completion/completions"),
        (Shell::Zsh, "zsh/vendor-completions"),
        (Shell::Fish, "fish/vendor_completions.d"),
    ] {
        let dir = args.dir.join(dir);
        fs::create_dir_all(&dir).map_err(failed)?;
        let written = clap_complete::generate_to(shell, &mut Cli::command(), "aio2", &dir);
        let written = written.map_err(failed)?;
        if shell == Shell::Bash {
            // Its loader looks for the command's own name.
            fs::rename(written, dir.join("aio2")).map_err(failed)?;
        }
    }
    Ok(Exit::Done)
}

/// A page for the command, and one for each that it has.
fn pages(command: &Command, dir: &Path) -> std::io::Result<()> {
    fs::create_dir_all(dir)?;
    let shown = command.get_subcommands();
    let shown = shown.filter(|sub| !sub.is_hide_set() && sub.get_name() != "help");
    for command in std::iter::once(command).chain(shown) {
        let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
        let path = dir.join(format!("{name}.1"));
        let mut page = Vec::new();
        let man = clap_mangen::Man::new(command.clone());
        let source = concat!("aio2 ", env!("CARGO_PKG_VERSION"));
        man.title(name).date(DATE).source(source).manual("AIO2").render(&mut page)?;
        fs::write(path, tidy(&String::from_utf8_lossy(&page)))?;
    }
    Ok(())
}

/// A page without breaks around an empty line, of which man(1) warns.
fn tidy(page: &str) -> String {
    let page: String = page.lines().flat_map(|line| [line.trim_end(), "\n"]).collect();
    page.replace(".br\n\n.br\n", ".sp\n")
}

/// When the commands were last changed.
const DATE: &str = "2026-11-30";
