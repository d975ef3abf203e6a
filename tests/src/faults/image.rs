//! What a disk holds after the power failed: what was synced, and of the rest anything, whole sectors at a time.
//!
//! Between two syncs of a file each sector of each write may have reached the disk or not, in any order, the file's
//! length likewise. Names that were made or taken away may be as they were before, until the folder is synced. What SQLite relies on (`SQLITE_IOCAP_POWERSAFE_OVERWRITE`) holds: bytes that nobody wrote do not change.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;

use super::disk::{Step, Tape};

/// What reaches the disk as a whole, bytes.
const SECTOR: usize = 512;

/// Files by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// A disk at one moment of a tape.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    files: BTreeMap<u32, File>,
    /// Names as programs see them, and as they are on the disk for certain.
    names: BTreeMap<String, u32>,
    synced_names: BTreeMap<String, u32>,
}

#[derive(Clone, Debug, Default)]
struct File {
    synced: Vec<u8>,
    pending: Vec<Pending>,
}

#[derive(Clone, Debug)]
enum Pending {
    Write { at: usize, bytes: Vec<u8> },
    Cut(usize),
}

/// What becomes of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Lost,
    Kept,
    /// The first writes, and the next one torn.
    Torn,
    /// Each sector for itself.
    Scattered,
}

impl Disk {
    /// At the beginning of `tape`.
    #[must_use]
    pub fn new(tape: &Tape) -> Disk {
        let mut disk = Disk::default();
        for (number, (name, bytes)) in (0..).zip(&tape.base) {
            disk.names.insert(name.clone(), number);
            let file = File {
                synced: bytes.clone(),
                pending: Vec::new(),
            };
            disk.files.insert(number, file);
        }
        disk.synced_names = disk.names.clone();
        disk
    }

    /// One step later.
    pub fn advance(&mut self, step: &Step) {
        match step {
            Step::Open { file, name } => {
                self.names.insert(name.clone(), *file);
                self.files.entry(*file).or_default();
            }
            Step::Write { file, at, bytes } => self.pend(*file, Pending::write(*at, bytes)),
            Step::Cut { file, length } => self.pend(*file, Pending::Cut(index(*length))),
            Step::Sync { file } => {
                let of = self.files.entry(*file).or_default();
                for pending in of.pending.drain(..) {
                    pending.apply(&mut of.synced, 0, |_| true);
                }
                // With a new log or journal SQLite syncs the folder, too.
                let is_new = |(name, number): (&String, &u32)| {
                    number == file
                        && !name.ends_with(".db")
                        && self.synced_names.get(name) != Some(number)
                };
                if self.names.iter().any(is_new) {
                    self.synced_names = self.names.clone();
                }
            }
            Step::Delete { name } => drop(self.names.remove(name)),
            Step::Said(_) => {}
        }
    }

    fn pend(&mut self, file: u32, pending: Pending) {
        self.files.entry(file).or_default().pending.push(pending);
    }

    /// What is left if the power fails now.
    #[must_use]
    pub fn fail(&self, random: &mut Rng) -> Files {
        let fate = [Fate::Lost, Fate::Kept, Fate::Torn, Fate::Scattered][random.usize(..4)];
        let names: BTreeSet<&String> = self.names.keys().chain(self.synced_names.keys()).collect();
        let mut left = Files::new();
        for name in names {
            let now = match fate {
                Fate::Lost => false,
                Fate::Kept => true,
                Fate::Torn | Fate::Scattered => random.bool(),
            };
            let (new, old) = (self.names.get(name), self.synced_names.get(name));
            if let Some(number) = if now { new } else { old } {
                left.insert(name.clone(), self.files[number].fail(fate, random));
            }
        }
        left
    }
}

impl File {
    fn fail(&self, fate: Fate, random: &mut Rng) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        let whole = match fate {
            Fate::Lost => 0,
            Fate::Kept => self.pending.len(),
            Fate::Torn => random.usize(..=self.pending.len()),
            Fate::Scattered => 0,
        };
        // A file that grew may hold zeros, or what was there before it.
        let fill = if random.bool() { 0 } else { random.u8(..) };
        for pending in &self.pending[..whole] {
            pending.apply(&mut bytes, fill, |_| true);
        }
        match fate {
            Fate::Torn => {
                if let Some(torn) = self.pending.get(whole) {
                    let sectors = random.usize(..=torn.sectors());
                    torn.apply(&mut bytes, fill, |sector| sector < sectors);
                }
            }
            Fate::Scattered => {
                for pending in &self.pending {
                    pending.apply(&mut bytes, fill, |_| random.bool());
                }
            }
            Fate::Lost | Fate::Kept => {}
        }
        bytes
    }
}

impl Pending {
    fn write(at: u64, bytes: &[u8]) -> Pending {
        Pending::Write {
            at: index(at),
            bytes: bytes.to_vec(),
        }
    }

    fn sectors(&self) -> usize {
        match self {
            Pending::Write { at, bytes } => (at + bytes.len())
                .div_ceil(SECTOR)
                .saturating_sub(at / SECTOR),
            Pending::Cut(_) => 1,
        }
    }

    /// Writes the sectors, counted from the first one touched, that `reaches` says.
    fn apply(&self, file: &mut Vec<u8>, fill: u8, mut reaches: impl FnMut(usize) -> bool) {
        match self {
            Pending::Cut(length) => {
                if reaches(0) {
                    file.resize(*length, fill);
                }
            }
            Pending::Write { at, bytes } => {
                let end = at + bytes.len();
                for sector in 0..self.sectors() {
                    let begin = (at / SECTOR + sector) * SECTOR;
                    let (from, to) = (begin.max(*at), (begin + SECTOR).min(end));
                    if reaches(sector) {
                        if file.len() < to {
                            file.resize(to, fill);
                        }
                        file[from..to].copy_from_slice(&bytes[from - at..to - at]);
                    }
                }
            }
        }
    }
}

fn index(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a state file fits into memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tape(steps: Vec<Step>) -> Tape {
        let mut tape = Tape::default();
        tape.base.insert("a.db".to_owned(), vec![b'0'; 1_024]);
        tape.steps = steps;
        tape
    }

    /// Every content of `a.db` that some failure at the end leaves.
    fn outcomes(tape: &Tape) -> BTreeSet<Option<Vec<u8>>> {
        let mut disk = Disk::new(tape);
        tape.steps.iter().for_each(|step| disk.advance(step));
        let mut random = Rng::with_seed(1);
        let fail = |_| disk.fail(&mut random).remove("a.db");
        (0..400).map(fail).collect()
    }

    #[test]
    fn what_was_synced_stays_and_each_sector_of_the_rest_is_old_or_new() {
        let write = |letter| Step::Write {
            file: 0,
            at: 256,
            bytes: vec![letter; 512],
        };
        let file = |first, second| {
            let parts = [(b'0', 256), (first, 256), (second, 256), (b'0', 256)];
            let bytes = parts.map(|(letter, count)| vec![letter; count]).concat();
            Some(bytes)
        };
        let synced = tape(vec![write(b'1'), Step::Sync { file: 0 }]);
        assert_eq!(outcomes(&synced), BTreeSet::from([file(b'1', b'1')]));
        let pending = tape(vec![write(b'1'), Step::Sync { file: 0 }, write(b'2')]);
        let any = [(b'1', b'1'), (b'2', b'1'), (b'1', b'2'), (b'2', b'2')];
        let any: BTreeSet<_> = any.map(|(first, second)| file(first, second)).into();
        assert_eq!(outcomes(&pending), any);
    }

    #[test]
    fn a_deleted_file_may_be_back_until_a_new_log_is_synced() {
        let old = Some(vec![b'0'; 1_024]);
        let mut steps = vec![Step::Delete {
            name: "a.db".to_owned(),
        }];
        assert_eq!(
            outcomes(&tape(steps.clone())),
            BTreeSet::from([None, old.clone()])
        );
        steps.push(Step::Open {
            file: 1,
            name: "a.db-wal".to_owned(),
        });
        assert_eq!(outcomes(&tape(steps.clone())), BTreeSet::from([None, old]));
        steps.push(Step::Sync { file: 1 });
        assert_eq!(outcomes(&tape(steps)), BTreeSet::from([None]));
    }
}
