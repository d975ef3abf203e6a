//! What goes first when the outbox is over its bound, and how that is declared.
//!
//! In this order: states of an incident between its first and its last one (they *collapse*: the last says more, so
//! nothing is lost); findings; what is about the detector; the first state of an incident that has a later one; the
//! oldest incidents. Everything but the first kind is a *gap*: its numbers are kept, in the transaction that deletes
//! them, until an event has declared it. Heartbeats never come here: only the newest waits, in memory.
//!
//! A sink that keeps up loses nothing by one that is away: what it has not settled yet stays ([`Changes::squeeze`]).

use super::store::{self, Changes, Store};

/// Events that were given up and not yet declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// First of their numbers.
    pub from: u64,
    /// Last of their numbers.
    pub to: u64,
    /// How many.
    pub events: u64,
    /// With all declared before: says which gap is meant.
    pub total: u64,
}

const TOTAL: &str = "gap_total";
const DECLARED: &str = "gap_declared";
const FROM: &str = "gap_from";
const TO: &str = "gap_to";
/// Events that collapsed into a later one.
const COLLAPSED: &str = "collapsed";

/// Between the first and the last event of its incident. That subjects are not empty has to be said: only then is
/// there an index, without which 50,000 events that wait take minutes of the thread.
const COLLAPSIBLE: &str = "class = 'incident' AND EXISTS (
    SELECT 1 FROM event AS before
    WHERE before.subject = event.subject AND before.subject <> '' AND before.sequence < event.sequence
) AND EXISTS (
    SELECT 1 FROM event AS after
    WHERE after.subject = event.subject AND after.subject <> '' AND after.sequence > event.sequence
)";

/// What is given up after that, in this order.
const EXPENDABLE: [&str; 4] = [
    "class = 'finding'",
    "class = 'agent'",
    "class = 'incident' AND EXISTS (
        SELECT 1 FROM event AS after
        WHERE after.subject = event.subject AND after.subject <> '' AND after.sequence > event.sequence
    )",
    "1",
];

/// How far the last of the sinks is that have at most so many bytes before them.
const KEEPS_UP: &str = "SELECT min(cursor) FROM sink
    WHERE (SELECT coalesce(sum(length(body)), 0) FROM event WHERE sequence > cursor) <= ?1";

fn to_delete(condition: &str) -> String {
    format!(
        "SELECT sequence, length(body) FROM event WHERE sequence <= ?1 AND ({condition}) ORDER BY sequence"
    )
}

impl Changes<'_> {
    /// Brings the outbox below its bound, if it is over. Goes down to seven eighths, so that the next event does not
    /// have to do it again.
    ///
    /// A sink keeps up while half of the bound at most is before it. Of that only what collapses goes: else the event that
    /// makes an outbox overflow which is full for another sink could be given up before anybody was offered it. The other
    /// half is enough to come down to the target.
    pub(super) fn squeeze(&mut self) -> rusqlite::Result<()> {
        let limit = self.limits.outbox_bytes;
        if *self.outbox_bytes <= limit {
            return Ok(());
        }
        let target = limit / 8 * 7;
        let collapsed = self.delete(COLLAPSIBLE, i64::MAX, target)?;
        if let Some(gone) = collapsed {
            let before = store::meta(self.transaction, COLLAPSED)?.unwrap_or(0);
            self.set_meta(COLLAPSED, before + gone.events.cast_signed())?;
        }
        let up_to: Option<i64> = self
            .transaction
            .prepare_cached(KEEPS_UP)?
            .query_row([(limit / 2).cast_signed()], |row| row.get(0))?;
        let up_to = up_to.unwrap_or(i64::MAX);
        for class in EXPENDABLE {
            if *self.outbox_bytes <= target {
                break;
            }
            if let Some(gone) = self.delete(class, up_to, target)? {
                self.note_gap(gone)?;
            }
        }
        Ok(())
    }

    /// Gives up what is older than the bound.
    pub(super) fn expire_events(&mut self, now: i64) -> rusqlite::Result<()> {
        let before = now.saturating_sub(self.limits.outbox_age_ns);
        if let Some(gone) = self.delete(&format!("at < {before}"), i64::MAX, 0)? {
            self.note_gap(gone)?;
        }
        Ok(())
    }

    /// Gives up events that cannot be read, wherever they wait.
    pub(super) fn give_up(&mut self, sequences: &[u64]) -> rusqlite::Result<()> {
        for sequence in sequences {
            let number = sequence.cast_signed();
            self.transaction
                .execute("DELETE FROM event WHERE sequence = ?1", [number])?;
            self.transaction
                .execute("DELETE FROM dead_letter WHERE sequence = ?1", [number])?;
            self.note_gap(Gone {
                from: *sequence,
                to: *sequence,
                events: 1,
            })?;
        }
        Ok(())
    }

    /// The gap up to `total` was declared by an event of this transaction.
    pub(super) fn gap_declared(&self, total: u64) -> rusqlite::Result<()> {
        self.set_meta(DECLARED, total.cast_signed())
    }

    /// Adds events that are gone for a reason other than the bound.
    pub(super) fn note_gap(&self, gone: Gone) -> rusqlite::Result<()> {
        let read = |key| store::meta(self.transaction, key).map(|value| value.unwrap_or(0));
        let (total, declared) = (read(TOTAL)?, read(DECLARED)?);
        if total <= declared {
            self.set_meta(FROM, gone.from.cast_signed())?;
            self.set_meta(TO, gone.to.cast_signed())?;
        } else {
            self.set_meta(FROM, read(FROM)?.min(gone.from.cast_signed()))?;
            self.set_meta(TO, read(TO)?.max(gone.to.cast_signed()))?;
        }
        self.set_meta(TOTAL, total + gone.events.cast_signed())
    }

    /// Deletes events numbered `up_to` at most that `condition` holds for, oldest first, until the outbox has at most
    /// `target` bytes.
    fn delete(
        &mut self,
        condition: &str,
        up_to: i64,
        target: u64,
    ) -> rusqlite::Result<Option<Gone>> {
        let rows: Vec<(i64, i64)> = self
            .transaction
            .prepare(&to_delete(condition))?
            .query_map([up_to], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let mut gone: Option<Gone> = None;
        for (sequence, bytes) in rows {
            if *self.outbox_bytes <= target {
                break;
            }
            let (is_page, subject): (bool, String) = self
                .transaction
                .prepare_cached("DELETE FROM event WHERE sequence = ?1 RETURNING page, subject")?
                .query_row([sequence], |row| Ok((row.get(0)?, row.get(1)?)))?;
            if is_page {
                self.inherit_page(sequence, &subject)?;
            }
            *self.outbox_bytes = self.outbox_bytes.saturating_sub(bytes.unsigned_abs());
            let sequence = sequence.cast_unsigned();
            let gone = gone.get_or_insert(Gone {
                from: sequence,
                to: sequence,
                events: 0,
            });
            gone.to = sequence;
            gone.events += 1;
        }
        Ok(gone)
    }
}

/// Events that were deleted unsent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) events: u64,
}

impl Store {
    /// What was given up and not yet declared.
    pub(super) fn gap(&self) -> rusqlite::Result<Option<Gap>> {
        let read = |key| -> rusqlite::Result<u64> {
            let value = store::meta(self.connection(), key)?;
            Ok(value.unwrap_or(0).max(0).cast_unsigned())
        };
        let (total, declared) = (read(TOTAL)?, read(DECLARED)?);
        if total <= declared {
            return Ok(None);
        }
        Ok(Some(Gap {
            from: read(FROM)?,
            to: read(TO)?,
            events: total - declared,
            total,
        }))
    }

    /// Events that collapsed into a later one, since the file was made.
    pub(super) fn collapsed(&self) -> rusqlite::Result<u64> {
        let value = store::meta(self.connection(), COLLAPSED)?;
        Ok(value.unwrap_or(0).max(0).cast_unsigned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bound_compares_every_event_with_every_other() {
        let mut connection = rusqlite::Connection::open_in_memory().expect("memory");
        super::super::schema::migrate(&mut connection).expect("the schema is valid");
        for condition in [&[COLLAPSIBLE][..], &EXPENDABLE].concat() {
            let plan = format!("EXPLAIN QUERY PLAN {}", to_delete(condition));
            let mut plan = connection.prepare(&plan).expect("valid SQL");
            let steps = plan.query_map([0], |row| row.get(3)).expect("a plan");
            let steps: Vec<String> = steps.map(|step| step.expect("text")).collect();
            let looked_up = steps
                .iter()
                .filter(|step| step.contains("event_by_subject (subject=?"));
            assert_eq!(
                looked_up.count(),
                condition.matches("EXISTS").count(),
                "{steps:#?}"
            );
        }
    }
}
