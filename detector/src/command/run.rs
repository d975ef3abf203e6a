//! `detector run`.

use std::process::ExitCode;

use super::{Output, Run};
use crate::{
    config::Config,
    report::Format,
    runtime::{self, Options},
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
        format: match run.output {
            Output::Human => Format::Human,
            Output::Json => Format::Json,
        },
        duration: run.duration,
    }))?;
    Ok(ExitCode::SUCCESS)
}
