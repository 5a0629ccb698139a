//! Metadata: owner, mode, access control lists, extended attributes, times.
//!
//! Duty: read them from a source and give them to its copy, in the order in
//! which none undoes another, and never let in at any moment who may not read
//! the source.

use super::session::Session;
use super::stat::{Kind, Stat};
use super::sys::{At, Fault, Named, c_string};
use super::traits::{DEFAULT_ACL, Traits};
use rustix::fs::{AtFlags, Gid, Mode, Uid, XattrFlags};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd};

const ACL: &CStr = c"system.posix_acl_access";
/// What the kernel or the security module makes by itself.
const NOT_COPIED: [&[u8]; 3] = [b"security.selinux", b"security.evm", b"security.ima"];
/// Set-user-ID and set-group-ID.
const SET_ID: u32 = libc::S_ISUID | libc::S_ISGID;
const GROUP: u32 = libc::S_IRWXG;

/// What a source has beyond what statx(2) tells.
#[derive(Debug, Default)]
pub struct Extra {
    acl: Option<Vec<u8>>,
    default_acl: Option<Vec<u8>>,
    xattrs: Vec<(CString, Vec<u8>)>,
    /// Some could not be read.
    lost: bool,
}

/// Reads it from an open file.
pub fn read(cx: &Session, fd: BorrowedFd<'_>, is_dir: bool) -> Extra {
    let list = |buffer: &mut Vec<u8>| rustix::fs::flistxattr(fd, buffer.as_mut_slice());
    let get =
        |name: &CStr, buffer: &mut Vec<u8>| rustix::fs::fgetxattr(fd, name, buffer.as_mut_slice());
    let mut extra = read_by(cx, list, get);
    if !is_dir {
        extra.default_acl = None;
    }
    extra
}

/// Reads it from a name that is not opened.
fn read_name(cx: &Session, at: &At<'_>) -> Extra {
    let path = path(at);
    let list = |buffer: &mut Vec<u8>| rustix::fs::llistxattr(&*path, buffer.as_mut_slice());
    let get = |name: &CStr, buffer: &mut Vec<u8>| {
        rustix::fs::lgetxattr(&*path, name, buffer.as_mut_slice())
    };
    read_by(cx, list, get)
}

/// A path for calls that take no directory.
fn path(at: &At<'_>) -> CString {
    if at.dir.as_raw_fd() == libc::AT_FDCWD {
        return at.name.clone().into_owned();
    }
    let dir = format!("/proc/self/fd/{}/", at.dir.as_raw_fd());
    c_string(&[dir.as_bytes(), at.name.to_bytes()].concat())
}

fn read_by(
    cx: &Session,
    list: impl Fn(&mut Vec<u8>) -> rustix::io::Result<usize>,
    get: impl Fn(&CStr, &mut Vec<u8>) -> rustix::io::Result<usize>,
) -> Extra {
    let mut extra = Extra::default();
    let keep = cx.options.keep;
    let Ok(names) = sized(&list) else { return extra };
    for name in names.split_inclusive(|&b| b == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        let is_acl = name == ACL || name == DEFAULT_ACL;
        if NOT_COPIED.contains(&name.to_bytes()) || !(is_acl || keep.xattrs) {
            continue;
        }
        match sized(|buffer| get(name, buffer)) {
            Ok(value) if name == ACL => extra.acl = Some(value),
            Ok(value) if name == DEFAULT_ACL => extra.default_acl = Some(value),
            Ok(value) => extra.xattrs.push((name.to_owned(), value)),
            // It was removed meanwhile.
            Err(Errno::NODATA) => {}
            Err(_) => extra.lost = true,
        }
    }
    extra
}

/// Bytes whose number the call tells by ERANGE only.
fn sized(
    mut call: impl FnMut(&mut Vec<u8>) -> rustix::io::Result<usize>,
) -> rustix::io::Result<Vec<u8>> {
    // No attribute and no list of names is longer.
    const LONGEST: usize = 64 << 10;
    let mut buffer = vec![0; 256];
    loop {
        match call(&mut buffer) {
            Ok(0) => return Ok(Vec::new()),
            Ok(len) => {
                buffer.truncate(len);
                return Ok(buffer);
            }
            Err(Errno::RANGE) if buffer.len() < LONGEST => buffer = vec![0; LONGEST],
            Err(error) => return Err(error),
        }
    }
}

/// What the owning group may do: the group bits of a mode are the mask of a
/// list, if there is one, and may be more.
fn group_of(acl: &[u8]) -> Option<u32> {
    const HEADER: usize = 4;
    const GROUP_OBJ: u16 = 4;
    const MASK: u16 = 16;
    let entries = acl.get(HEADER..)?.chunks_exact(8);
    let permission = |wanted| {
        let mut entries = entries.clone();
        entries.find_map(|entry| {
            let tag = u16::from_le_bytes([entry[0], entry[1]]);
            (tag == wanted).then(|| u32::from(u16::from_le_bytes([entry[2], entry[3]])))
        })
    };
    Some(permission(GROUP_OBJ)? & permission(MASK).unwrap_or(7))
}

/// The mode of a copy that has no list.
fn plain_mode(mode: u32, extra: &Extra) -> u32 {
    match extra.acl.as_deref() {
        Some(acl) => mode & !GROUP | group_of(acl).unwrap_or(0) << 3,
        None => mode,
    }
}

/// Whether the copy does not belong to the right owner by itself.
fn must_chown(cx: &Session, stat: &Stat, traits: &Traits) -> bool {
    cx.options.keep.owner && (traits.sets_group || stat.owner() != cx.owner)
}

/// The mode that a new file may be made with at once, if nobody can open it
/// before it is complete: that of the copy, if nothing else changes it.
pub fn birth_mode(cx: &Session, stat: &Stat, extra: &Extra, traits: &Traits) -> Option<u32> {
    let alone = extra.acl.is_none() && !traits.gives_acl && !must_chown(cx, stat, traits);
    let mode = alone.then(|| wanted_mode(cx, stat, extra, traits, None));
    // Writing takes set-id bits away.
    mode.filter(|mode| mode & SET_ID == 0)
}

/// The mode of a copy; `there` is what it replaces.
fn wanted_mode(
    cx: &Session,
    stat: &Stat,
    extra: &Extra,
    traits: &Traits,
    there: Option<&Stat>,
) -> u32 {
    if cx.options.keep.mode {
        return if cx.options.keep.owner || stat.owner() == cx.owner {
            stat.permissions()
        } else {
            stat.permissions() & !SET_ID
        };
    }
    let is_dir = stat.kind() == Kind::Directory;
    if let Some(there) = there {
        // New contents have no claim to an old set-id bit; those of a directory
        // say who may remove names in it, and which group they get.
        return there.permissions() & if is_dir { 0o7777 } else { 0o777 };
    }
    let mode = match (cx.options.keep.mode_fresh, is_dir) {
        (true, true) => 0o777,
        (true, false) => 0o666,
        (false, true) => plain_mode(stat.permissions(), extra) & 0o1777,
        (false, false) => plain_mode(stat.permissions(), extra) & 0o777,
    };
    // What a new directory gets from the one above it.
    let inherited = if is_dir && traits.sets_group { libc::S_ISGID } else { 0 };
    mode & !cx.umask | inherited
}

/// Changes the owner where permitted; returns the bits that the mode loses.
fn chown(
    cx: &Session,
    stat: &Stat,
    change: impl Fn(Option<Uid>, Option<Gid>) -> Result<(), Fault>,
) -> Result<u32, Fault> {
    let (uid, gid) = stat.owner();
    let group = Some(Gid::from_raw(gid));
    match change(Some(Uid::from_raw(uid)), group) {
        Ok(()) => Ok(0),
        // As cp -p does, but counted and told. The group may be ours to give.
        Err(fault) if fault.is_any(&[libc::EPERM, libc::EINVAL]) => {
            cx.tally.owners_lost.add(1);
            let _group_at_least = change(None, group);
            Ok(SET_ID)
        }
        Err(fault) => Err(fault),
    }
}

/// Gives an open copy what its source has. It was made with the mode `born`, or
/// replaces `there`.
pub fn give_to(
    cx: &Session,
    fd: BorrowedFd<'_>,
    stat: &Stat,
    extra: &Extra,
    traits: &Traits,
    born: Option<u32>,
    there: Option<&Stat>,
) -> Result<(), Fault> {
    let keep = cx.options.keep;
    let mut lost = 0;
    if must_chown(cx, stat, traits) {
        lost = chown(cx, stat, |uid, gid| rustix::fs::fchown(fd, uid, gid).named("fchown"))?;
    } else if let (false, Some(there), None) = (keep.owner, there, born)
        && there.owner() != cx.owner
    {
        lost = chown(cx, there, |uid, gid| rustix::fs::fchown(fd, uid, gid).named("fchown"))?;
    }
    let set = |name: &CStr, value: &[u8]| {
        rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty()).named("fsetxattr")
    };
    set_xattrs(cx, extra, &set)?;
    let mode = wanted_mode(cx, stat, extra, traits, there) & !lost;
    let chmod = |mode| rustix::fs::fchmod(fd, Mode::from_raw_mode(mode)).named("fchmod");
    let remove = |name: &CStr| match rustix::fs::fremovexattr(fd, name) {
        Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
        Err(error) => Err(error).named("fremovexattr"),
    };
    if let (true, Some(acl)) = (keep.mode, &extra.acl) {
        // The group's bits come with the list.
        chmod(mode & !GROUP)?;
        if set(ACL, acl).is_err() {
            cx.tally.acls_lost.add(1);
            chmod(plain_mode(mode, extra))?;
        }
    } else {
        if keep.mode && traits.gives_acl {
            remove(ACL)?;
        }
        if born != Some(mode) {
            chmod(mode)?;
        }
    }
    if keep.mode && stat.kind() == Kind::Directory {
        match &extra.default_acl {
            Some(acl) if set(DEFAULT_ACL, acl).is_err() => cx.tally.acls_lost.add(1),
            None if traits.gives_acl => remove(DEFAULT_ACL)?,
            _ => {}
        }
    }
    if keep.times {
        rustix::fs::futimens(fd, &stat.times()).named("utimensat")?;
    }
    Ok(())
}

/// Sets an attribute of a copy.
type Set<'a> = dyn Fn(&CStr, &[u8]) -> Result<(), Fault> + 'a;

fn set_xattrs(cx: &Session, extra: &Extra, set: &Set<'_>) -> Result<(), Fault> {
    let mut lost = extra.lost;
    for (name, value) in &extra.xattrs {
        match set(name, value) {
            Ok(()) => {}
            Err(fault) if cx.options.keep.xattrs_required => return Err(fault),
            Err(_) => lost = true,
        }
    }
    if lost {
        cx.tally.xattrs_lost.add(1);
    }
    Ok(())
}

/// Gives what has no contents, and must not be opened, what its source has. A
/// symbolic link has no mode.
pub fn give_by_name(
    cx: &Session,
    from: &At<'_>,
    to: &At<'_>,
    stat: &Stat,
    traits: &Traits,
) -> Result<(), Fault> {
    let keep = cx.options.keep;
    let mut lost = 0;
    if must_chown(cx, stat, traits) {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        lost = chown(cx, stat, |uid, gid| {
            rustix::fs::chownat(to.dir, &*to.name, uid, gid, flags).named("fchownat")
        })?;
    }
    let extra = read_name(cx, from);
    let set = |name: &CStr, value: &[u8]| {
        rustix::fs::lsetxattr(&*path(to), name, value, XattrFlags::empty()).named("lsetxattr")
    };
    set_xattrs(cx, &extra, &set)?;
    if stat.kind() != Kind::Symlink {
        let mode = wanted_mode(cx, stat, &extra, traits, None) & !lost;
        let chmod = |mode| {
            let mode = Mode::from_raw_mode(mode);
            rustix::fs::chmodat(to.dir, &*to.name, mode, AtFlags::empty()).named("fchmodat")
        };
        match &extra.acl {
            Some(acl) if keep.mode => {
                chmod(mode & !GROUP)?;
                if set(ACL, acl).is_err() {
                    cx.tally.acls_lost.add(1);
                    chmod(plain_mode(mode, &extra))?;
                }
            }
            _ => {
                if keep.mode && traits.gives_acl {
                    let _none = rustix::fs::lremovexattr(&*path(to), ACL);
                }
                chmod(mode)?;
            }
        }
    }
    if keep.times {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(to.dir, &*to.name, &stat.times(), flags).named("utimensat")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(entries: &[(u16, u16)]) -> Vec<u8> {
        let mut bytes = 2_u32.to_le_bytes().to_vec();
        for (tag, permission) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(permission.to_le_bytes());
            bytes.extend(u32::MAX.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn the_mask_of_a_list_is_not_what_the_group_may_do() {
        let list = acl(&[(1, 6), (2, 7), (4, 4), (16, 7), (32, 0)]);
        assert_eq!(group_of(&list), Some(4));
        let extra = Extra { acl: Some(list), ..Extra::default() };
        assert_eq!(plain_mode(0o670, &extra), 0o640);
        assert_eq!(plain_mode(0o670, &Extra::default()), 0o670);
        let broken = Extra { acl: Some(vec![2, 0]), ..Extra::default() };
        assert_eq!(plain_mode(0o670, &broken), 0o600, "what cannot be read lets nobody in");
    }
}
