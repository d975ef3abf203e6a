//! What the loop does when a recording is wanted: begins it, tells it whatever the engine is told, ends it.

use std::path::PathBuf;

use super::RunError;
use crate::{
    config::Config,
    detect::{Engine, Seed},
    event::HostInfo,
    input::Input,
    output::Output,
    recording::{Header, LOSS, Recorder, State},
    report,
    source::scan::Clock,
};

/// A recording to make.
#[derive(Clone, Debug)]
pub struct RecordTo {
    /// The new file.
    pub path: PathBuf,
    /// Longer it does not get, bytes.
    pub max_bytes: u64,
    /// Stop when it is full.
    pub then_stop: bool,
}

/// Begins the recording.
pub(super) fn begin(
    to: &RecordTo,
    config: &Config,
    host: &HostInfo,
    addresses: &[ipnet::IpNet],
    seed: Seed,
    now: Clock,
) -> Result<Recorder, RunError> {
    let header = Header {
        detector_version: env!("CARGO_PKG_VERSION").to_owned(),
        host: host.clone(),
        addresses: addresses.to_vec(),
        seed: seed.0,
        started_unix_ns: now.unix_ns,
        started_boot_ns: now.boot_ns,
        config_digest: report::digest(config),
        config: Header::policy(config),
    };
    Recorder::spawn(&to.path, &header, to.max_bytes).map_err(|source| RunError::Record {
        path: to.path.clone(),
        source,
    })
}

/// The one place where the engine is told something: a recording misses nothing.
pub(super) fn tell(
    input: Input<'_>,
    recorder: &mut Option<Recorder>,
    engine: &mut Engine,
    outputs: &mut Vec<Output>,
) {
    if let Some(recorder) = recorder {
        recorder.push(input);
    }
    engine.apply(input, outputs);
}

/// What is not in it though it should be, as a counter that only grows.
pub(super) fn loss(recorder: &Option<Recorder>) -> (&'static str, u64) {
    (LOSS, recorder.as_ref().map_or(0, Recorder::dropped))
}

/// Whether the recording was all that was wanted, and has its full length. One that only went along is
/// closed, and the daemon goes on.
pub(super) fn is_over(wanted: &Option<RecordTo>, recorder: &mut Option<Recorder>) -> bool {
    if recorder
        .as_ref()
        .is_none_or(|recorder| recorder.state() == State::Going)
    {
        return false;
    }
    if wanted.as_ref().is_some_and(|to| to.then_stop) {
        return true;
    }
    if let Some(Err(error)) = recorder.take().map(finish) {
        tracing::error!(%error, "no longer recorded");
    }
    false
}

/// Closes the recording and says what it came to.
pub(super) fn finish(recorder: Recorder) -> Result<(), RunError> {
    let path = recorder.path().to_owned();
    let dropped = recorder.dropped();
    let totals = recorder.finish().map_err(|source| RunError::Record {
        path: path.clone(),
        source,
    })?;
    tracing::info!(
        path = %path.display(),
        inputs = totals.inputs,
        dropped,
        bytes = totals.file_bytes,
        bytes_before_compression = totals.raw_bytes,
        "recorded"
    );
    Ok(())
}
