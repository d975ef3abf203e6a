//! What `/proc` says about one process.

use rustix::fs::ResolveFlags;

use super::{cgroup, file::Pinned, path, procfs::ProcessDir, user::Users};
use crate::{
    input::{ProcessFacts, TITLE_BYTES},
    output::Enrich,
};

/// The facts of the process in question. `process` is its directory where it still lives; if it ends or
/// proves to be another one meanwhile, only what the question itself settles is answered.
pub(super) fn facts(
    question: &Enrich,
    process: Option<&ProcessDir>,
    users: &mut Users,
) -> ProcessFacts {
    let settled = ProcessFacts {
        process: question.process,
        executable_path: None,
        script_path: question
            .script
            .as_deref()
            .and_then(absolute_script)
            .map(Into::into),
        working_directory: None,
        cgroup: None,
        unit: None,
        container_id: None,
        user_name: users.name(question.uid),
        title: None,
        preloads: Vec::new(),
    };
    let Some(process) = process else {
        return settled;
    };
    let working_directory = process.link("cwd").ok();
    let cgroup = process.text("cgroup").ok().and_then(|t| cgroup::path(&t));
    let executable_path = executable_path(question, process);
    // Of another image by now, the command line says nothing about the one that was asked about.
    let title = executable_path
        .as_ref()
        .and_then(|_| process.read("cmdline", TITLE_BYTES).ok())
        .filter(|title| !title.is_empty());
    let found = ProcessFacts {
        executable_path: executable_path.map(Into::into),
        title: title.map(Into::into),
        script_path: settled.script_path.clone().or_else(|| {
            let cwd = working_directory.as_deref()?;
            relative_script(question.script.as_deref()?, cwd, process).map(Into::into)
        }),
        working_directory: working_directory.map(Into::into),
        unit: cgroup.as_deref().and_then(cgroup::unit),
        container_id: cgroup.as_deref().and_then(cgroup::container),
        cgroup,
        ..settled.clone()
    };
    match process.verify() {
        Ok(()) => found,
        Err(_) => settled,
    }
}

/// Where the image lies; not if the process runs another one than was asked about by now.
fn executable_path(question: &Enrich, process: &ProcessDir) -> Option<Vec<u8>> {
    let image = Pinned::executable(process).ok()?;
    match question.executable {
        Some(id) if !image.is_image(&id, process) => None,
        _ => image.real_path().ok(),
    }
}

/// An absolute script path needs no process. A path through a descriptor is left as it is.
fn absolute_script(filename: &[u8]) -> Option<Vec<u8>> {
    if path::is_descriptor(filename) {
        return Some(filename.to_vec());
    }
    filename
        .starts_with(b"/")
        .then(|| path::normalise(filename))
}

/// A relative script path, joined with the working directory of now. The process may have left the one it
/// was started in, so the file must be there.
fn relative_script(filename: &[u8], cwd: &[u8], process: &ProcessDir) -> Option<Vec<u8>> {
    if filename.is_empty() {
        return None;
    }
    let joined = path::normalise(&[cwd, b"/", filename].concat());
    let root = process.pin("root").ok()?;
    Pinned::below(root, &joined, ResolveFlags::empty()).ok()?;
    Some(joined)
}
