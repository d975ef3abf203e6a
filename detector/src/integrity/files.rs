//! Whether the daemon's own files are what it runs: its configuration, its program.
//!
//! Both are changed every now and then by those who may. A change that is followed by a reload or a restart is theirs; so a
//! change is told only when it lies there for [`GRACE_NS`], once for each content.

/// From a change to an alarm, ns: an editor that is left and a `systemctl reload`, a package that is unpacked and whose
/// service is restarted. Longer would be a time in which a reboot makes the change good.
pub const GRACE_NS: u64 = 30_000_000_000;

/// Something that should stay as it is.
#[derive(Debug)]
pub struct Settled<T> {
    explained: Option<T>,
    seen: Option<T>,
    since_ns: u64,
    /// What is seen next is as it should be.
    explain_next: bool,
}

impl<T> Default for Settled<T> {
    fn default() -> Self {
        Settled {
            explained: None,
            seen: None,
            since_ns: 0,
            explain_next: true,
        }
    }
}

impl<T: PartialEq + Clone> Settled<T> {
    /// It looks so now. Gives whether it has to be explained.
    pub fn look(&mut self, now: T, at_ns: u64) -> bool {
        if std::mem::take(&mut self.explain_next) {
            self.explained = Some(now.clone());
        }
        if self.seen.as_ref() != Some(&now) {
            self.seen = Some(now);
            self.since_ns = at_ns;
        }
        self.seen != self.explained && at_ns.saturating_sub(self.since_ns) >= GRACE_NS
    }

    /// What was seen last is explained, or told.
    pub fn explain(&mut self) {
        self.explained.clone_from(&self.seen);
    }

    /// What is seen next is what is in force.
    pub fn explain_next(&mut self) {
        self.explain_next = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: [u64; 0] = [];

    fn looks(settled: &mut Settled<u8>, looks: &[(u8, u64)]) -> Vec<u64> {
        let mut told = Vec::new();
        for (content, s) in looks {
            if settled.look(*content, s * 1_000_000_000) {
                told.push(*s);
                settled.explain();
            }
        }
        told
    }

    #[test]
    fn change_is_told_once_after_the_grace_and_a_further_one_again() {
        let mut settled = Settled::default();
        let seen = [
            (1, 0),
            (2, 5),
            (2, 10),
            (2, 34),
            (2, 35),
            (2, 40),
            (3, 45),
            (3, 75),
        ];
        assert_eq!(looks(&mut settled, &seen), [35, 75]);
    }

    #[test]
    fn what_is_put_back_in_time_or_still_changes_is_not_told() {
        let mut settled = Settled::default();
        assert_eq!(
            looks(&mut settled, &[(1, 0), (2, 5), (1, 30), (1, 90)]),
            NOTHING
        );
        assert_eq!(
            looks(&mut settled, &[(2, 100), (3, 120), (4, 140), (4, 169)]),
            NOTHING
        );
    }

    #[test]
    fn reload_explains_what_lies_there_then() {
        let mut settled = Settled::default();
        assert_eq!(looks(&mut settled, &[(1, 0), (2, 5)]), NOTHING);
        settled.explain_next();
        assert_eq!(
            looks(&mut settled, &[(2, 10), (2, 100), (3, 105), (3, 135)]),
            [135]
        );
    }
}
