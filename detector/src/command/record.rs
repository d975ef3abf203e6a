//! `detector record`: the daemon, without receivers and with a recording.

use std::{collections::BTreeMap, process::ExitCode};

use super::Record;
use crate::{config::Config, runtime::RecordTo};

/// Watches and writes down until told to stop, or until the file has its full length.
pub fn execute(record: Record) -> anyhow::Result<ExitCode> {
    let config = Config {
        sink: BTreeMap::new(),
        ..record.watching.config()?
    };
    let to = RecordTo {
        path: record.file,
        max_bytes: record.max_bytes,
        then_stop: true,
    };
    record.watching.watch(config, Some(to))
}
