//! What `run` and `record` have in common: the daemon in the foreground.

use std::process::ExitCode;

use super::{Output, Watching};
use crate::{
    config::Config,
    report::Format,
    runtime::{self, Options, RecordTo},
};

impl Watching {
    /// The configuration in force, with the ranges of the command line.
    pub(super) fn config(&self) -> anyhow::Result<Config> {
        super::log_to_stderr();
        let mut config = super::load(&self.configuration)?;
        config.network.treat_as_remote.extend(&self.treat_as_remote);
        Ok(config)
    }

    /// Watches this host until told to stop.
    pub(super) fn watch(
        self,
        config: Config,
        record: Option<RecordTo>,
    ) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(runtime::run(Options {
            config,
            config_path: self.configuration.config,
            treat_as_remote: self.treat_as_remote,
            format: Format::from(self.output),
            duration: self.duration,
            record,
        }))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl From<Output> for Format {
    fn from(output: Output) -> Self {
        match output {
            Output::Human => Format::Human,
            Output::Json => Format::Json,
        }
    }
}
