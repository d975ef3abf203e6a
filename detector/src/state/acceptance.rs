//! Acceptances in the file. What they mean is [`crate::incident::Acceptance`].

use rusqlite::{Connection, Row};

use crate::incident::{Acceptance, AcceptedBy, FindingType};

/// Acceptances in force; more than anybody looks through, and each is compared with every finding.
const MAX: i64 = 1_000;

/// Writes one down and gives its number.
pub(super) fn insert(
    connection: &Connection,
    acceptance: &Acceptance,
    created: i64,
) -> rusqlite::Result<i64> {
    let (value, uid): (&[u8], Option<u32>) = match &acceptance.by {
        AcceptedBy::Hash(hash) => (hash, None),
        AcceptedBy::Path { path, uid } => (path, *uid),
        AcceptedBy::Unit(unit) => (unit.as_bytes(), None),
    };
    let names: Vec<&str> = acceptance.findings.iter().map(|kind| kind.name()).collect();
    connection.execute(
        "INSERT INTO acceptance (kind, value, owner_uid, findings, reason, incident, created, expires)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        (
            acceptance.by.name(),
            value,
            uid,
            names.join(" "),
            &acceptance.reason,
            &acceptance.incident,
            created,
            acceptance.expires_unix_ns,
        ),
    )?;
    Ok(connection.last_insert_rowid())
}

/// Those that have not expired, the newest first where there are too many.
pub(super) fn in_force(connection: &Connection, now: i64) -> rusqlite::Result<Vec<Acceptance>> {
    let rows: Vec<Option<Acceptance>> = connection
        .prepare_cached(
            "SELECT id, kind, value, owner_uid, findings, reason, incident, expires FROM acceptance
             WHERE expires > ?1 ORDER BY id DESC LIMIT ?2",
        )?
        .query_map((now, MAX), acceptance)?
        .collect::<rusqlite::Result<_>>()?;
    Ok(rows.into_iter().flatten().collect())
}

/// `None`: of a kind that this version does not know.
fn acceptance(row: &Row<'_>) -> rusqlite::Result<Option<Acceptance>> {
    let kind: String = row.get(1)?;
    let value = row.get_ref(2)?.as_bytes()?;
    let by = match kind.as_str() {
        "hash" => value.try_into().ok().map(AcceptedBy::Hash),
        "path" => Some(AcceptedBy::Path {
            path: value.into(),
            uid: row.get(3)?,
        }),
        "unit" => String::from_utf8(value.to_vec()).ok().map(AcceptedBy::Unit),
        _ => None,
    };
    let findings: String = row.get(4)?;
    let Some(by) = by else {
        return Ok(None);
    };
    Ok(Some(Acceptance {
        number: row.get(0)?,
        by,
        // A type of a newer version is none of this one's findings.
        findings: findings
            .split(' ')
            .filter_map(FindingType::from_name)
            .collect(),
        reason: row.get(5)?,
        incident: row.get(6)?,
        expires_unix_ns: row.get(7)?,
    }))
}
