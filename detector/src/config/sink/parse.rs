//! From the tables below `[sink]` to [`Sink`]s, with the place of what is wrong.

use std::{collections::BTreeMap, ops::Range};

use serde::de::DeserializeOwned;
use toml::{
    Spanned,
    de::{DeTable, DeValue, Deserializer, Error},
};

use super::{
    COMMON, Kind, Sink, TLS, WEB,
    kind::{TYPES, Type},
};

/// What is wrong, and where in the text.
#[derive(Debug)]
pub(in crate::config) struct Fault {
    pub span: Option<Range<usize>>,
    pub reason: String,
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault {
            span: error.span(),
            reason: error.message().to_owned(),
        }
    }
}

fn fault(span: Range<usize>, reason: String) -> Fault {
    Fault {
        span: Some(span),
        reason,
    }
}

/// The value of the key `sink`.
pub(in crate::config) fn parse(
    value: Spanned<DeValue<'_>>,
) -> Result<BTreeMap<String, Sink>, Fault> {
    let span = value.span();
    let DeValue::Table(sinks) = value.into_inner() else {
        return Err(fault(span, "must be tables [sink.<name>]".to_owned()));
    };
    let mut out = BTreeMap::new();
    for (name, value) in sinks {
        let span = name.span();
        let name = name.into_inner().into_owned();
        let well_formed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > 64 || !name.chars().all(well_formed) {
            let reason = "a sink's name is 1 to 64 letters, digits, - and _";
            return Err(fault(span, reason.to_owned()));
        }
        let DeValue::Table(table) = value.into_inner() else {
            return Err(fault(span, format!("must be a table [sink.{name}]")));
        };
        let sink = sink(&name, span, table)?;
        out.insert(name, sink);
    }
    Ok(out)
}

fn sink(name: &str, header: Range<usize>, mut table: DeTable<'_>) -> Result<Sink, Fault> {
    let known = kind_of(name, header.clone(), &mut table)?;
    let (mut common, mut tls, mut web, mut own) = Default::default();
    for (key, value) in table {
        let word: &str = key.get_ref();
        let group: &mut DeTable<'_> = if COMMON.contains(&word) {
            &mut common
        } else if known.own.contains(&word) {
            &mut own
        } else if known.groups.contains(&TLS) && TLS.contains(&word) {
            &mut tls
        } else if known.groups.contains(&WEB) && WEB.contains(&word) {
            &mut web
        } else {
            let keys = [known.own, &known.groups.concat(), COMMON].concat();
            return Err(fault(
                key.span(),
                format!(
                    "unknown key; a sink of type `{}` has: {}",
                    known.name,
                    keys.join(", ")
                ),
            ));
        };
        group.insert(key, value);
    }
    Ok(Sink {
        common: from(header.clone(), common)?,
        tls: from(header.clone(), tls)?,
        web: from(header.clone(), web)?,
        kind: match known.name {
            "http" => Kind::Http(from(header, own)?),
            "alertmanager" => Kind::Alertmanager(from(header, own)?),
            "pagerduty" => Kind::Pagerduty(from(header, own)?),
            "otlp" => Kind::Otlp(from(header, own)?),
            "syslog" => Kind::Syslog(from(header, own)?),
            "nats" => Kind::Nats(from(header, own)?),
            "command" => Kind::Command(from(header, own)?),
            _ => Kind::File(from(header, own)?),
        },
    })
}

/// Takes `type` out of the table, or the name for it.
fn kind_of(
    name: &str,
    header: Range<usize>,
    table: &mut DeTable<'_>,
) -> Result<&'static Type, Fault> {
    let find = |word: &str| TYPES.iter().find(|known| known.name == word);
    let all = || TYPES.map(|known| known.name).join(", ");
    let Some(value) = table.remove("type") else {
        let reason = || format!("`type` is missing: one of {}", all());
        return find(name).ok_or_else(|| fault(header, reason()));
    };
    let span = value.span();
    match value.into_inner() {
        DeValue::String(word) => {
            let reason = || format!("no such type: one of {}", all());
            find(&word).ok_or_else(|| fault(span, reason()))
        }
        _ => Err(fault(span, "must be a string".to_owned())),
    }
}

fn from<T: DeserializeOwned>(header: Range<usize>, table: DeTable<'_>) -> Result<T, Fault> {
    let table = Spanned::new(header.clone(), table);
    T::deserialize(Deserializer::from(table)).map_err(|error| {
        let mut fault = Fault::from(error);
        // A missing key has no place of its own.
        fault.span.get_or_insert(header);
        fault
    })
}
