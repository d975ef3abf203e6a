//! `detector run`.

use std::process::ExitCode;

use super::{DEFAULT_RECORD_BYTES, Run};
use crate::runtime::RecordTo;

/// Watches this host until told to stop.
pub fn execute(run: Run) -> anyhow::Result<ExitCode> {
    let config = run.watching.config()?;
    let record = run.record.map(|path| RecordTo {
        path,
        max_bytes: DEFAULT_RECORD_BYTES,
        then_stop: false,
    });
    run.watching.watch(config, record)
}
