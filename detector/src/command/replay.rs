//! `detector replay`.

use std::{
    io::{self, BufWriter, IsTerminal as _, Write as _},
    process::ExitCode,
    time::Instant,
};

use anyhow::Context as _;

use super::{DEGRADED, Output, Replay};
use crate::{
    config::Config,
    judge::Judge,
    render::{Lives, Style},
    source::replay,
};

/// Judges the recording. Standard output depends on file and configuration alone; what depends on this run, such as
/// its speed, goes to standard error.
pub fn execute(options: &Replay) -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    let mut source = replay::Replay::open(&options.file)?;
    let config = match &options.config {
        Some(path) => Config::load(path)?,
        None => source.header().recorded_config().context(
            "the settings in the recording are of another version; name a file with --config",
        )?,
    };
    let header = source.header().clone();
    let mut judge = Judge::of_recording(&header, config.for_engine(&header.addresses));
    let mut stdout = BufWriter::new(io::stdout().lock());
    let mut lives = Lives::default();
    let mut failed = None;
    let mut written = Ok(());
    for input in &mut source {
        match input {
            Ok(input) => judge.apply(input.borrow(), |event| match options.output {
                Output::Human => lives.add(event),
                Output::Json if written.is_ok() => written = line(&mut stdout, &event),
                Output::Json => {}
            }),
            Err(error) => failed = Some(error),
        }
        if written.is_err() {
            break;
        }
    }
    if options.output == Output::Human {
        let colour = io::stdout().is_terminal();
        written = written
            .and(stdout.write_all(lives.table(Style { colour }, options.explain).as_bytes()));
    }
    match written.and_then(|()| stdout.flush()) {
        // `| head` has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
        other => other.context("cannot write to standard output")?,
    }
    said(&source, begun);
    Ok(match failed {
        None => ExitCode::SUCCESS,
        Some(error) => {
            eprintln!("detector: {error}; what was before it is judged");
            ExitCode::from(DEGRADED)
        }
    })
}

fn line(out: &mut impl io::Write, event: &crate::event::CloudEvent) -> io::Result<()> {
    serde_json::to_writer(&mut *out, event)?;
    out.write_all(b"\n")
}

/// What was replayed, and how fast.
fn said(source: &replay::Replay, begun: Instant) {
    let told = source.told();
    let recorded_s = match (told.first_unix_ns, told.last_unix_ns) {
        (Some(first), Some(last)) => last.saturating_sub(first) / 1_000_000_000,
        _ => 0,
    };
    let took_s = begun.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
    let ratio = recorded_s as f64 / took_s;
    eprintln!(
        "{} inputs of {recorded_s} s on {}, by detector {}, replayed in {took_s:.2} s ({ratio:.0} times real time)",
        told.inputs,
        crate::event::text::line(&source.header().host.name),
        crate::event::text::line(&source.header().detector_version),
    );
    let skipped = source.skipped();
    if let Some(first) = &skipped.first {
        eprintln!(
            "detector: {} inputs are unknown to this version and were passed over; the first: {}",
            skipped.count,
            crate::event::text::line(first)
        );
    }
}
