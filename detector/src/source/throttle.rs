//! Whose records the kernel side kept out while a ring was filling.
//!
//! Owns what each cgroup's entry said last. Reads nothing until a counter says that something was kept out, so an
//! unflooded host pays nothing. Finding a cgroup's path means walking the hierarchy, once for each that floods, and
//! no further than [`MOST_FOLDERS`].

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use detector_common::throttle::{KEPT_OUT, Throttle};

use crate::{
    input::{Loss, Throttled},
    kernel::Loaded,
};

/// Cgroups told in one pass, those that lost most first. More cannot all flood.
const MOST_TOLD: usize = 16;
/// Folders looked at for one cgroup; a host with 300 units has 400.
const MOST_FOLDERS: usize = 4_096;

/// What was known at the last pass.
#[derive(Debug, Default)]
pub struct Throttles {
    seen: BTreeMap<u64, Throttle>,
    paths: BTreeMap<u64, Option<String>>,
}

impl Throttles {
    /// What grew since the last call.
    pub fn since_last(&mut self, loaded: &Loaded) -> Vec<Throttled> {
        let now: BTreeMap<u64, Throttle> = loaded.throttles().filter_map(Result::ok).collect();
        let mut grown: Vec<Throttled> = now
            .iter()
            .filter_map(|(id, now)| gained(*id, self.seen.get(id), now))
            .collect();
        grown.sort_by_key(|throttled| std::cmp::Reverse(total(throttled)));
        grown.truncate(MOST_TOLD);
        self.paths.retain(|id, _| now.contains_key(id));
        for throttled in &mut grown {
            let find = || path_of(loaded.cgroup_root()?, throttled.cgroup_id);
            let path = self.paths.entry(throttled.cgroup_id).or_insert_with(find);
            throttled.cgroup.clone_from(path);
        }
        self.seen = now;
        grown
    }
}

fn total(throttled: &Throttled) -> u64 {
    throttled.losses.iter().map(|loss| loss.count).sum()
}

/// What one entry gained. One that is less than before was forgotten by the kernel side and made anew.
fn gained(cgroup_id: u64, before: Option<&Throttle>, now: &Throttle) -> Option<Throttled> {
    let grew = |before: &&Throttle| {
        let kept_out = before.kept_out.iter().zip(&now.kept_out);
        kept_out.fold(true, |grew, (before, now)| grew && before <= now)
    };
    let before = before.filter(grew).copied().unwrap_or_default();
    let losses: Vec<Loss> = KEPT_OUT
        .iter()
        .map(|counter| Loss {
            class: counter.name(),
            count: now.kept_out[Throttle::place(*counter)]
                - before.kept_out[Throttle::place(*counter)],
        })
        .filter(|loss| loss.count > 0)
        .collect();
    (!losses.is_empty()).then(|| Throttled {
        cgroup_id,
        cgroup: None,
        losses,
        unbilled_ns: now.unbilled_ns.saturating_sub(before.unbilled_ns),
    })
}

/// Path below the mount of the cgroup whose folder has this inode number. Breadth first: units lie high up.
fn path_of(root: &Path, id: u64) -> Option<String> {
    let mut folders = VecDeque::from([PathBuf::from(root)]);
    let mut looked_at = 0;
    while let Some(folder) = folders.pop_front() {
        looked_at += 1;
        if looked_at > MOST_FOLDERS {
            return None;
        }
        if fs::metadata(&folder).ok().map(|folder| folder.ino()) == Some(id) {
            let below = folder.strip_prefix(root).ok()?;
            return Some(format!("/{}", below.to_string_lossy()));
        }
        let children = fs::read_dir(&folder).into_iter().flatten().flatten();
        let children = children.filter(|child| child.file_type().is_ok_and(|kind| kind.is_dir()));
        folders.extend(children.map(|child| child.path()));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kept_out: [u64; 5], unbilled_ns: u64) -> Throttle {
        Throttle {
            kept_out,
            unbilled_ns,
            ..Throttle::default()
        }
    }

    #[test]
    fn a_cgroup_is_told_what_it_lost_since_the_last_pass_by_name() {
        let before = entry([1, 2, 0, 0, 5], 10);
        assert_eq!(
            gained(7, Some(&before), &entry([4, 2, 0, 1, 5], 30)),
            Some(Throttled {
                cgroup_id: 7,
                cgroup: None,
                losses: vec![
                    Loss {
                        class: "exec_throttled",
                        count: 3
                    },
                    Loss {
                        class: "thread_end_throttled",
                        count: 1
                    }
                ],
                unbilled_ns: 20,
            })
        );
        assert_eq!(gained(7, Some(&before), &before), None);
    }

    #[test]
    fn an_entry_made_anew_is_told_from_its_beginning() {
        let before = entry([100, 0, 0, 0, 0], 50);
        let told = gained(7, Some(&before), &entry([2, 0, 0, 0, 0], 3)).expect("it lost two");
        assert_eq!((total(&told), told.unbilled_ns), (2, 3));
    }

    #[test]
    fn a_cgroups_path_is_found_by_its_inode_number_alone() {
        let root = tempfile::tempdir().expect("a folder");
        let unit = root.path().join("system.slice/x.service");
        fs::create_dir_all(&unit).expect("it is ours");
        let id = fs::metadata(&unit).expect("it is there").ino();
        let path = path_of(root.path(), id);
        assert_eq!(path.as_deref(), Some("/system.slice/x.service"));
        assert_eq!(path_of(root.path(), u64::MAX), None);
    }
}
