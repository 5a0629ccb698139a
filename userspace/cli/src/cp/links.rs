//! Hard links within what is copied: the first name is copied, the others are
//! linked to it.

use super::dir;
use super::entry::{Decision, Entry, look};
use super::failure::Failure;
use super::linked::First;
use super::options::Follow;
use super::place::{Commit, make_named, settle};
use super::session::Session;
use super::stat::Stat;
use super::sys::{self, At, Fault};
use std::ffi::CStr;
use std::sync::PoisonError;

/// Whether the copy of a file may have to be a link.
pub fn may_be(cx: &Session, stat: &Stat) -> bool {
    cx.options.keep.links && (stat.links() > 1 || cx.options.follow == Follow::Always)
}

/// Copies a file with several names: by `copy` the first time, later as a link.
pub fn copy(
    cx: &Session,
    entry: &Entry,
    stat: &Stat,
    copy: impl FnOnce() -> Result<Commit, Failure>,
) -> Result<(), Failure> {
    let linked = cx.links.meet(stat, cx.options.follow == Follow::Always);
    let mut first = linked.first.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(first) = &*first
        && link(cx, entry, stat, first)?
    {
        return Ok(());
    }
    // If it fails, the next name tries it.
    if copy()? == Commit::Done {
        let found = sys::stat(&entry.target(), false).map_err(|f| entry.at_target(f))?;
        let dir = entry.dir.target_path_from_base(c"");
        *first = Some(First {
            dir: dir.strip_suffix(b"/").unwrap_or(&dir).to_vec(),
            name: entry.target_name().to_owned(),
            copy: found.identity(),
        });
    }
    Ok(())
}

/// Makes the entry's target another name of what `first` was copied to; false
/// if that cannot be.
fn link(cx: &Session, entry: &Entry, stat: &Stat, first: &First) -> Result<bool, Failure> {
    let Decision::Copy(target) = look(cx, entry, stat)? else {
        cx.tally.kept.add(1);
        return Ok(true);
    };
    // It is that file already.
    if target.there.is_some_and(|there| there.identity() == first.copy) {
        cx.tally.hard_links.add(1);
        return Ok(true);
    }
    if target.special {
        return Ok(false);
    }
    let made = make_named(cx, &target, |to| with_first(entry, first, |from| sys::link(from, to)));
    let name = match made {
        Ok((name, ())) => name,
        // The name is gone or is another file, or the file system cannot.
        Err(_) => {
            cx.tally.links_lost.add(1);
            return Ok(false);
        }
    };
    let temporary = target.beside(&name);
    if !sys::stat(&temporary, false).is_ok_and(|found| found.identity() == first.copy) {
        discard(entry, &temporary)?;
        cx.tally.links_lost.add(1);
        return Ok(false);
    }
    entry.tell(cx);
    match settle(cx, entry, &target, &name)? {
        Commit::Done => cx.tally.hard_links.add(1),
        Commit::Kept => cx.tally.kept.add(1),
        Commit::WriteThrough | Commit::WithName => {
            cx.tally.links_lost.add(1);
            return Ok(false);
        }
    }
    Ok(true)
}

fn discard(entry: &Entry, temporary: &At<'_>) -> Result<(), Failure> {
    sys::unlink(temporary).map_err(|f| entry.at_target(f))
}

/// Does something with the name of the first copy, however deep it lies.
fn with_first(
    entry: &Entry,
    first: &First,
    run: impl FnOnce(&At<'_>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    const SHORT: usize = 2000;
    let base = &entry.dir.root().target;
    if first.dir.len() <= SHORT {
        let path: &[&[u8]] = match first.dir.as_slice() {
            b"" => &[first.name.to_bytes()],
            dir => &[dir, first.name.to_bytes()],
        };
        let path = sys::c_string(&path.join(&b'/'));
        return run(&base.at(&path));
    }
    let dir = dir::descend(base, &first.dir)?;
    let name: &CStr = &first.name;
    run(&dir.at(name))
}
