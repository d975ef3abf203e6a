//! `detector run`.

use std::process::ExitCode;

use super::{DEFAULT_RECORD_BYTES, Output, Run};
use crate::{
    config::Config,
    report::Format,
    runtime::{self, Options, RecordTo},
};

/// Watches this host until told to stop.
pub fn execute(run: Run, config: Config) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(runtime::run(Options {
        config,
        config_path: run.configuration.config,
        treat_as_remote: run.treat_as_remote,
        format: Format::from(run.output),
        duration: run.duration,
        record: run.record.map(|path| RecordTo {
            path,
            max_bytes: DEFAULT_RECORD_BYTES,
            then_stop: false,
        }),
    }))?;
    Ok(ExitCode::SUCCESS)
}

impl From<Output> for Format {
    fn from(output: Output) -> Self {
        match output {
            Output::Human => Format::Human,
            Output::Json => Format::Json,
        }
    }
}
