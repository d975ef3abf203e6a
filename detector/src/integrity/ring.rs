//! Whether the rings still tell of processes that are there.
//!
//! The iterator shows every process that ran; the fork probe tells of each when it is made, before it runs for the first
//! time. So of the youngest process that is shown, a few moments old, a record must have come, or of a younger one; else
//! the record was lost, which is counted, or the probe does not run or somebody else empties the ring. One sighting more a
//! pass later, with still no record and no loss, and it is told.

/// So old a process is before a record of it is missed, ns. Rings are drained before each pass; a record is written within
/// microseconds of the start.
const AGE_NS: u64 = 2_000_000_000;
/// Passes after a loss in which a missing record is not missed.
const EXCUSED_PASSES: u32 = 10;

/// Compares.
#[derive(Debug, Default)]
pub struct Rings {
    /// When the daemon was ready to hear of forks, ns since boot.
    since_ns: u64,
    last_fork_ns: u64,
    suspected: bool,
    excused: u32,
    told: bool,
}

impl Rings {
    /// The fork probe is attached since then, ns since boot.
    pub fn since(boot_ns: u64) -> Rings {
        Rings {
            since_ns: boot_ns,
            ..Rings::default()
        }
    }

    /// A record of a fork, made then.
    pub fn forked(&mut self, at_ns: u64) {
        self.last_fork_ns = self.last_fork_ns.max(at_ns);
        self.told = false;
    }

    /// A pass showed processes that began at `starts_ns`; `lost`: records were lost since the last one, or some still wait
    /// in the ring. Gives how old the process is of which no record came, ns; once, until records come again.
    pub fn pass(
        &mut self,
        now_ns: u64,
        starts_ns: impl Iterator<Item = u64>,
        lost: bool,
    ) -> Option<u64> {
        if lost {
            self.excused = EXCUSED_PASSES;
        }
        self.excused = self.excused.saturating_sub(1);
        let old_enough = now_ns.saturating_sub(AGE_NS);
        let youngest = starts_ns
            .filter(|start| (self.since_ns..=old_enough).contains(start))
            .max();
        let missed = youngest.filter(|start| *start > self.last_fork_ns);
        if self.excused > 0 {
            // What is younger than the loss has to be told again.
            self.since_ns = now_ns;
            self.suspected = false;
            return None;
        }
        let missed = missed?;
        if !std::mem::replace(&mut self.suspected, true) || self.told {
            return None;
        }
        self.told = true;
        Some(now_ns - missed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn pass(rings: &mut Rings, now: u64, starts: &[u64], lost: bool) -> Option<u64> {
        let starts = starts.iter().map(|s| s * S);
        rings.pass(now * S, starts, lost).map(|age| age / S)
    }

    #[test]
    fn processes_of_which_no_record_came_are_told_once_after_two_passes() {
        let mut rings = Rings::since(10 * S);
        rings.forked(20 * S);
        // Older than the daemon, told, too young to be missed.
        assert_eq!(pass(&mut rings, 30, &[5, 15, 20, 29], false), None);
        assert_eq!(pass(&mut rings, 31, &[29], false), None);
        assert_eq!(pass(&mut rings, 32, &[30], false), Some(2));
        assert_eq!(pass(&mut rings, 33, &[31], false), None);
        // It runs again, and stops again.
        rings.forked(34 * S);
        assert_eq!(pass(&mut rings, 35, &[33], false), None);
        assert_eq!(pass(&mut rings, 40, &[36], false), Some(4));
    }

    #[test]
    fn one_sighting_alone_is_nothing_when_a_younger_one_was_told() {
        let mut rings = Rings::since(0);
        assert_eq!(pass(&mut rings, 10, &[7], false), None);
        rings.forked(11 * S);
        assert_eq!(pass(&mut rings, 14, &[7, 11], false), None);
        assert_eq!(pass(&mut rings, 15, &[7, 11], false), None);
    }

    #[test]
    fn counted_loss_excuses_what_began_before_it_was_over() {
        let mut rings = Rings::since(0);
        assert_eq!(pass(&mut rings, 10, &[7], true), None);
        for now in 11..25 {
            assert_eq!(pass(&mut rings, now, &[7, 9], false), None);
        }
        // Ten passes later a missing record is missed again.
        assert_eq!(pass(&mut rings, 25, &[21], false), None);
        assert_eq!(pass(&mut rings, 26, &[22], false), Some(4));
    }

    #[test]
    fn quiet_host_is_not_tampered_with() {
        let mut rings = Rings::since(0);
        rings.forked(S);
        for now in 10..1_000 {
            assert_eq!(pass(&mut rings, now, &[1], false), None);
        }
    }
}
