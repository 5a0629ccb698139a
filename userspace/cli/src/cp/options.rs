//! What the command line asks for, decided.
//!
//! Duty: options that contradict or imply each other become one answer to each
//! question of the copier. Not here: the options' texts (`args`).

use crate::args::{CpArgs, Update, When};
use crate::exit::Trouble;
use std::env;

/// Which symbolic links of the source are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    Never,
    CommandLine,
    Always,
}

/// What becomes of a file that is in the target already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    Replace,
    /// Kept.
    Keep,
    /// Kept, and that is a failure.
    Fail,
    /// Replaced if it is older than the source.
    Older,
    /// Replaced if the user says so.
    Ask,
}

/// What of the metadata is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    pub mode: bool,
    /// The mode is what the umask leaves, whatever the source has.
    pub mode_fresh: bool,
    pub owner: bool,
    pub times: bool,
    pub links: bool,
    pub xattrs: bool,
    /// Whether a lost attribute is a failure.
    pub xattrs_required: bool,
}

/// How a backup's name is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    Simple,
    Numbered,
    /// Numbered if there are such, otherwise simple.
    Existing,
}

/// How what is replaced is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    pub control: Control,
    pub suffix: Vec<u8>,
}

/// All answers.
#[derive(Clone, Debug)]
pub struct Options {
    pub recursive: bool,
    pub follow: Follow,
    pub existing: Existing,
    pub keep: Keep,
    pub backup: Option<Backup>,
    pub sync: bool,
    pub verify: bool,
    pub verbose: bool,
    pub one_file_system: bool,
    /// A symbolic link or hard link in the target is replaced, not written through.
    pub remove_destination: bool,
    pub sparse: When,
    pub reflink: When,
    /// Whether the bytes of every file go through AIO2, with attributes.
    pub attributes: bool,
}

impl Options {
    /// What `args` mean.
    ///
    /// # Errors
    /// If they cannot be meant together.
    pub fn new(args: &CpArgs, attributes: bool) -> Result<Self, Trouble> {
        let trouble = |what: String| Trouble::new(what);
        if let Some(option) = args.refused() {
            return Err(trouble(format!("{option} is not done by aio2 cp; cp(1) does it")));
        }
        let recursive = args.recursive || args.archive;
        if args.reflink == When::Always && args.sparse != When::Auto {
            return Err(trouble("--reflink=always takes --sparse=auto only".into()));
        }
        let existing = match args.update {
            _ if args.no_clobber => Existing::Keep,
            _ if args.interactive => Existing::Ask,
            Some(Update::None) => Existing::Keep,
            Some(Update::NoneFail) => Existing::Fail,
            Some(Update::Older) => Existing::Older,
            None | Some(Update::All) => Existing::Replace,
        };
        let backup = Backup::new(args).map_err(trouble)?;
        if backup.is_some() && args.no_clobber {
            return Err(trouble("--backup and --no-clobber exclude each other".into()));
        }
        Ok(Options {
            recursive,
            follow: if args.dereference {
                Follow::Always
            } else if args.follow_command_line {
                Follow::CommandLine
            } else if recursive || args.no_dereference || args.links {
                Follow::Never
            } else {
                Follow::CommandLine
            },
            existing,
            keep: keep(args).map_err(trouble)?,
            backup,
            sync: !args.no_sync,
            verify: args.verify,
            verbose: args.verbose,
            one_file_system: args.one_file_system,
            remove_destination: args.remove_destination,
            sparse: args.sparse,
            reflink: args.reflink,
            attributes,
        })
    }
}

/// Everything is kept, unless the command line says what is.
fn keep(args: &CpArgs) -> Result<Keep, String> {
    let says = args.links || args.preserve_usual || !args.preserve.is_empty();
    let mut keep = Keep {
        mode: true,
        mode_fresh: false,
        owner: true,
        times: true,
        links: true,
        xattrs: true,
        xattrs_required: false,
    };
    if says && !args.archive {
        set(&mut keep, "all", false)?;
        keep.mode_fresh = false;
        keep.links = args.links;
        if args.preserve_usual {
            set(&mut keep, "mode,ownership,timestamps", true)?;
        }
    }
    for list in &args.preserve {
        set(&mut keep, list, true)?;
    }
    for list in &args.no_preserve {
        set(&mut keep, list, false)?;
    }
    Ok(keep)
}

fn set(keep: &mut Keep, list: &str, to: bool) -> Result<(), String> {
    for name in list.split(',') {
        match name {
            "mode" => (keep.mode, keep.mode_fresh) = (to, !to),
            "ownership" => keep.owner = to,
            "timestamps" => keep.times = to,
            "links" => keep.links = to,
            "xattr" => (keep.xattrs, keep.xattrs_required) = (to, to),
            // The security context is one of the attributes of xattr.
            "context" => {}
            "none" if to => {}
            "all" => {
                (keep.mode, keep.mode_fresh, keep.owner) = (to, !to, to);
                (keep.times, keep.links, keep.xattrs) = (to, to, to);
            }
            _ => {
                return Err(format!(
                    "{name:?} cannot be preserved: mode, ownership, timestamps, links, xattr, \
                     all and none can"
                ));
            }
        }
    }
    Ok(())
}

impl Backup {
    fn new(args: &CpArgs) -> Result<Option<Self>, String> {
        if !args.backup_plain && args.backup.is_none() && args.suffix.is_none() {
            return Ok(None);
        }
        let given = args.backup.clone().filter(|control| !control.is_empty());
        let control = match given.or_else(|| env::var("VERSION_CONTROL").ok()).as_deref() {
            None | Some("existing" | "nil") => Control::Existing,
            Some("simple" | "never") => Control::Simple,
            Some("numbered" | "t") => Control::Numbered,
            Some("none" | "off") => return Ok(None),
            Some(other) => {
                return Err(format!(
                    "{other:?} is no way to make backups: none, simple, numbered, existing are"
                ));
            }
        };
        let suffix = args.suffix.clone().or_else(|| env::var_os("SIMPLE_BACKUP_SUFFIX"));
        let suffix = suffix.map(|suffix| suffix.into_encoded_bytes());
        let suffix = suffix.filter(|s| !s.is_empty() && !s.contains(&b'/'));
        Ok(Some(Backup { control, suffix: suffix.unwrap_or_else(|| b"~".to_vec()) }))
    }
}
