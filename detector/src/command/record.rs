//! `detector record`: the daemon, without receivers and with a recording.

use std::{collections::BTreeMap, process::ExitCode};

use super::Record;
use crate::{
    config::Config,
    report::Format,
    runtime::{self, Options, RecordTo},
};

/// Watches and writes down until told to stop, or until the file has its full length.
pub fn execute(record: Record, config: Config) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(runtime::run(Options {
        config: Config {
            sink: BTreeMap::new(),
            ..config
        },
        config_path: record.configuration.config,
        treat_as_remote: record.treat_as_remote,
        format: Format::from(record.output),
        duration: record.duration,
        record: Some(RecordTo {
            path: record.file,
            max_bytes: record.max_bytes,
            then_stop: true,
        }),
    }))?;
    Ok(ExitCode::SUCCESS)
}
