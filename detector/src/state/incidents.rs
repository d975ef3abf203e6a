//! The last state of every incident, and what the command line asks about them.
//!
//! Bounded by age and number: the longest resolved goes first; an open one never goes.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::store::{self, Changes, Store};
use crate::{
    event::IncidentData,
    incident::{Incident, Status},
    input::ProcessKey,
};

/// Incidents kept: ten a day for three years; about 100 MB if each is of the largest kind, 10 MB as they are.
const MAX: i64 = 10_000;

/// An incident as it is kept: the whole event, and columns to find it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredIncident {
    /// Its id (UUIDv7).
    pub id: String,
    /// `open` or `resolved`.
    pub status: String,
    /// `info`, `warning` or `critical`.
    pub severity: String,
    /// One line.
    pub title: String,
    /// The same for incidents of one cause.
    pub group_key: String,
    /// When it was opened, ns since 1970.
    pub opened: i64,
    /// When this state was told, ns since 1970.
    pub updated: i64,
    /// When it was over, ns since 1970.
    pub resolved: Option<i64>,
    /// Path of the executable or script, escaped.
    pub executable: Option<String>,
    /// Of the executable, lower-case hex.
    pub sha256: Option<String>,
    /// systemd unit.
    pub unit: Option<String>,
    /// The boot in which `process` is meant.
    pub boot_id: Option<String>,
    /// The process it is about.
    pub process: Option<ProcessKey>,
    /// The whole CloudEvent.
    pub event: Bytes,
}

impl StoredIncident {
    /// What there is to keep of a change.
    pub fn new(
        incident: &Incident,
        data: &IncidentData,
        boot_id: Option<&str>,
        event: Bytes,
    ) -> StoredIncident {
        let process = data.process.as_ref();
        StoredIncident {
            id: data.incident.id.clone(),
            status: match incident.status {
                Status::Open => "open",
                Status::Resolved => "resolved",
            }
            .to_owned(),
            severity: data.incident.severity.clone(),
            title: data.incident.title.clone(),
            group_key: data.incident.group_key.clone(),
            opened: incident.opened_unix_ns,
            updated: incident.updated_unix_ns,
            resolved: incident.resolved_unix_ns,
            executable: process.and_then(|process| process.executable.clone()),
            sha256: process.and_then(|process| Some(process.hash.as_ref()?.sha256.clone())),
            unit: process.and_then(|process| process.unit.clone()),
            boot_id: boot_id.map(str::to_owned),
            process: incident.subject.as_ref().map(|subject| subject.key),
            event,
        }
    }
}

/// Something the command line asks of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Which incident is over.
    pub incident: String,
    /// Why, in the operator's words.
    pub reason: String,
}

const COLUMNS: &str = "id, status, severity, title, group_key, opened, updated, resolved, executable, sha256, \
                       unit, boot_id, tgid, start_ns, event, digest";

impl Changes<'_> {
    /// Keeps an incident's newest state.
    pub(super) fn put_incident(&self, incident: &StoredIncident) -> rusqlite::Result<()> {
        let process = incident.process;
        self.transaction
            .prepare_cached(&format!(
                "INSERT OR REPLACE INTO incident ({COLUMNS})
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)"
            ))?
            .execute(rusqlite::params![
                incident.id,
                incident.status,
                incident.severity,
                incident.title,
                incident.group_key,
                incident.opened,
                incident.updated,
                incident.resolved,
                incident.executable,
                incident.sha256,
                incident.unit,
                incident.boot_id,
                process.map(|process| process.tgid),
                process.map(|process| process.start_ns.cast_signed()),
                &incident.event[..],
                store::digest(&incident.event),
            ])?;
        Ok(())
    }

    /// Takes what the command line asked.
    pub(super) fn take_requests(&self) -> rusqlite::Result<Vec<Request>> {
        self.transaction
            .prepare_cached("DELETE FROM request RETURNING incident, reason")?
            .query_map([], |row| {
                Ok(Request {
                    incident: row.get(0)?,
                    reason: row.get(1)?,
                })
            })?
            .collect()
    }

    /// Forgets the longest resolved beyond the bounds. Gives how many.
    pub(super) fn forget_incidents(&self, now: i64) -> rusqlite::Result<usize> {
        let before = now.saturating_sub(self.limits.keep_ns);
        let old = self.transaction.execute(
            "DELETE FROM incident WHERE status = 'resolved' AND updated < ?1",
            [before],
        )?;
        let many = self.transaction.execute(
            "DELETE FROM incident WHERE status = 'resolved' AND id IN (
                 SELECT id FROM incident WHERE status = 'resolved' ORDER BY updated DESC LIMIT -1 OFFSET ?1)",
            [MAX],
        )?;
        Ok(old + many)
    }
}

impl Store {
    /// Incidents that were open when last told. Those whose event is damaged are left out, and counted.
    pub(super) fn open_incidents(&self) -> rusqlite::Result<(Vec<StoredIncident>, usize)> {
        let rows = select(
            self.connection(),
            "WHERE status = 'open' ORDER BY opened, id",
            [],
        )?;
        let all = rows.len();
        let whole: Vec<StoredIncident> = rows.into_iter().flatten().collect();
        let damaged = all - whole.len();
        Ok((whole, damaged))
    }
}

/// The incidents that `clause` selects; `None` where the event is not what was written.
pub(super) fn select(
    connection: &Connection,
    clause: &str,
    params: impl rusqlite::Params,
) -> rusqlite::Result<Vec<Option<StoredIncident>>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM incident {clause}"))?
        .query_map(params, incident)?
        .collect()
}

/// Asks the daemon to resolve an incident.
pub(super) fn request(connection: &Connection, request: &Request, at: i64) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO request (what, incident, reason, created) VALUES ('resolve', ?1, ?2, ?3)",
        (&request.incident, &request.reason, at),
    )?;
    Ok(())
}

/// Whether a request still waits for the daemon.
pub(super) fn is_requested(connection: &Connection, incident: &str) -> rusqlite::Result<bool> {
    let found: Option<i64> = connection
        .prepare_cached("SELECT 1 FROM request WHERE incident = ?1")?
        .query_row([incident], |row| row.get(0))
        .optional()?;
    Ok(found.is_some())
}

fn incident(row: &Row<'_>) -> rusqlite::Result<Option<StoredIncident>> {
    let event = row.get_ref(14)?.as_bytes()?;
    if store::digest(event) != row.get::<_, i64>(15)? {
        return Ok(None);
    }
    let tgid: Option<u32> = row.get(12)?;
    let start_ns: Option<i64> = row.get(13)?;
    Ok(Some(StoredIncident {
        id: row.get(0)?,
        status: row.get(1)?,
        severity: row.get(2)?,
        title: row.get(3)?,
        group_key: row.get(4)?,
        opened: row.get(5)?,
        updated: row.get(6)?,
        resolved: row.get(7)?,
        executable: row.get(8)?,
        sha256: row.get(9)?,
        unit: row.get(10)?,
        boot_id: row.get(11)?,
        process: tgid.zip(start_ns).map(|(tgid, start_ns)| ProcessKey {
            tgid,
            start_ns: start_ns.cast_unsigned(),
        }),
        event: event.to_vec().into(),
    }))
}
