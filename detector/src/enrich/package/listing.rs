//! What every package database does with a question: answer from what was read, and read again, now and then,
//! when the answer is no.

use std::time::{Duration, Instant};

use super::index::Index;
use crate::input::Owner;

/// A database that is read at the first question and kept.
pub(super) trait Listing {
    /// How often a path that is not listed makes us look whether the database changed.
    const RECHECK: Duration;

    /// Reads it, unless it is as it was. What cannot be read whole is not kept.
    fn refresh(&mut self);

    /// What was read. `None`: nothing, or not whole.
    fn index(&self) -> Option<&Index>;

    /// When it was last looked at for changes.
    fn checked_at(&mut self) -> &mut Option<Instant>;

    /// Who lists `path`.
    fn owner(&mut self, path: &[u8], now: Instant) -> Owner {
        let look_up = |index: &Index| index.get(path).map(str::to_owned).map(Owner::Package);
        if let Some(package) = self.index().and_then(look_up) {
            return package;
        }
        let checked_at = self.checked_at();
        let due = checked_at.is_none_or(|at| now.saturating_duration_since(at) >= Self::RECHECK);
        if due {
            *checked_at = Some(now);
            self.refresh();
            if let Some(package) = self.index().and_then(look_up) {
                return package;
            }
        }
        match self.index() {
            Some(_) => Owner::Unowned,
            None => Owner::Unknown("package database unreadable"),
        }
    }
}
