//! What a process's dynamic loader was told to load first: `LD_PRELOAD` and `/etc/ld.so.preload`.
//!
//! An object that is loaded before the C library can hide files, processes and connections from every
//! program of the host. Of the environment one variable is looked at; the rest holds other people's
//! secrets and is forgotten at once. It shows what the process was started with: a process may
//! overwrite it.

use std::{io::Read, time::Instant};

use rustix::fs::ResolveFlags;

use super::{executable::Executables, file::Pinned, path, procfs::ProcessDir};
use crate::input::{Owner, Preload, PreloadFrom};

/// The variable.
const VARIABLE: &[u8] = b"LD_PRELOAD=";
/// Longest environment read, bytes: `ARG_MAX` by default.
const ENVIRONMENT_BYTES: usize = 2 << 20;
/// Longest `/etc/ld.so.preload` read, bytes.
const FILE_BYTES: u64 = 4 << 10;
/// Objects looked at, of each source.
const MAX_OBJECTS: usize = 8;

/// The objects that are loaded into `process`, and whose they are.
pub(super) fn find(
    process: &ProcessDir,
    executables: &mut Executables,
    now: Instant,
) -> Vec<Preload> {
    let environment = process
        .read("environ", ENVIRONMENT_BYTES)
        .unwrap_or_default();
    let variable = environment
        .split(|byte| *byte == 0)
        .find_map(|entry| entry.strip_prefix(VARIABLE));
    let file = system_file(process).unwrap_or_default();
    let from_variable =
        objects(variable.unwrap_or_default()).map(|object| (PreloadFrom::Environment, object));
    let from_file = file
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.starts_with(b"#"))
        .flat_map(objects)
        .take(MAX_OBJECTS)
        .map(|object| (PreloadFrom::SystemFile, object));
    from_variable
        .chain(from_file)
        .map(|(from, object)| look(from, object, process, executables, now))
        .collect()
}

fn objects(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b':' || byte.is_ascii_whitespace())
        .filter(|object| !object.is_empty())
        .take(MAX_OBJECTS)
}

fn system_file(process: &ProcessDir) -> Option<Vec<u8>> {
    let root = process.pin("root").ok()?;
    let file = Pinned::below(root, b"/etc/ld.so.preload", ResolveFlags::empty()).ok()?;
    let mut text = Vec::new();
    let reader = file.reader().ok()?;
    reader.take(FILE_BYTES).read_to_end(&mut text).ok()?;
    Some(text)
}

fn look(
    from: PreloadFrom,
    object: &[u8],
    process: &ProcessDir,
    executables: &mut Executables,
    now: Instant,
) -> Preload {
    let (id, owner) = match open(object, process) {
        Ok(file) => (Some(file.id()), executables.owner(&file, process, now)),
        Err(why) => (None, Owner::Unknown(why)),
    };
    Preload {
        from,
        path: object.into(),
        id,
        owner,
    }
}

fn open(object: &[u8], process: &ProcessDir) -> Result<Pinned, &'static str> {
    if !object.contains(&b'/') {
        return Err("searched for by name");
    }
    if object.contains(&b'$') {
        return Err("has variables");
    }
    let whole = if object.starts_with(b"/") {
        path::normalise(object)
    } else {
        let folder = process.link("cwd").map_err(|_| "folder not reached")?;
        path::normalise(&[&folder, &b"/"[..], object].concat())
    };
    let reach = || {
        let root = process.pin("root").ok()?;
        Pinned::below(root, &whole, ResolveFlags::empty()).ok()
    };
    reach().ok_or("object not reached")
}
