//! Cuts a recording down to what a test may keep: the named programs and whatever descends from them.
//!
//! `excerpt FROM TO NAME…` keeps every process that runs a file of one of these names, its descendants, and what is
//! said about them; everybody else on the machine, its name, addresses and boot id are left out. What is kept keeps
//! its order and its times.

use std::{
    collections::HashSet,
    fs::File,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap::Parser;
use detector::{
    input::{ExecutableId, OwnedInput, ProcessKey},
    recording::{Header, Writer},
    source::replay::Replay,
};
use tests::trace;

/// Cuts a recording down to the named programs and whatever descends from them.
#[derive(Debug, Parser)]
struct Arguments {
    /// The recording
    from: PathBuf,
    /// The new, shorter one
    to: PathBuf,
    /// File names of programs to keep
    #[arg(required = true)]
    names: Vec<String>,
}

/// Who is kept.
#[derive(Debug, Default)]
struct Kept {
    processes: HashSet<ProcessKey>,
    executables: HashSet<ExecutableId>,
}

impl Kept {
    fn has(&self, process: impl Into<ProcessKey>) -> bool {
        self.processes.contains(&process.into())
    }

    /// Learns from an input who is kept: the children of those who are, and who runs a named file.
    fn learn(&mut self, input: &OwnedInput, names: &[String]) {
        match input {
            OwnedInput::Fork(fork) if self.has(fork.parent) => {
                self.processes.insert(fork.child.into());
            }
            OwnedInput::Exec(exec) => {
                let named = names.iter().any(|name| {
                    *exec.name == *name.as_bytes()
                        || exec.filename.ends_with(format!("/{name}").as_bytes())
                });
                if named || self.has(exec.parent) || self.has(exec.process) {
                    self.processes.insert(exec.process);
                    self.executables.insert(exec.executable.id);
                }
            }
            OwnedInput::Scan(scan) => {
                for task in &scan.tasks {
                    if self.has(task.parent) {
                        self.processes.insert(task.process.into());
                    }
                }
            }
            _ => {}
        }
    }

    /// What of an input is about those who are kept.
    fn cut(&self, input: OwnedInput) -> Option<OwnedInput> {
        let keep = match &input {
            OwnedInput::Fork(fork) => self.has(fork.child),
            OwnedInput::Exec(exec) => self.has(exec.process),
            OwnedInput::Exit(exit) => self.has(exit.process),
            OwnedInput::ThreadEnd(end) => self.processes.iter().any(|key| key.tgid == end.tgid),
            OwnedInput::Connection(connection) => self.has(connection.process),
            OwnedInput::Payload(payload) => self.has(payload.process),
            OwnedInput::Process(_, facts) => self.has(facts.process),
            OwnedInput::Script(_, facts) => self.has(facts.process),
            OwnedInput::Executable(_, facts) => self.executables.contains(&facts.id),
            OwnedInput::Scan(_) | OwnedInput::Sockets(..) => true,
            _ => false,
        };
        let input = keep.then_some(input)?;
        Some(match input {
            OwnedInput::Scan(mut scan) => {
                scan.tasks.retain(|task| self.has(task.process));
                OwnedInput::Scan(scan)
            }
            OwnedInput::Sockets(at_ns, mut sockets) => {
                sockets
                    .listeners
                    .retain(|listener| self.has(listener.process));
                sockets.flows.retain(|flow| self.has(flow.process));
                OwnedInput::Sockets(at_ns, sockets)
            }
            other => other,
        })
    }
}

/// Opens it and calls `each` with every input.
fn read(path: &Path, mut each: impl FnMut(OwnedInput) -> Result<()>) -> Result<Header> {
    let mut source = Replay::open(path)?;
    for input in &mut source {
        each(input?)?;
    }
    Ok(source.header().clone())
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut kept = Kept::default();
    // Twice: the first pass shows processes before anything says what they run.
    let mut header = None;
    for _ in 0..2 {
        header = Some(read(&arguments.from, |input| {
            kept.learn(&input, &arguments.names);
            Ok(())
        })?);
    }
    let header = header.context("it was read")?;
    let header = Header {
        host: trace::host(header.host.cpu_count),
        addresses: Vec::new(),
        ..header
    };
    let file = File::create_new(&arguments.to).context("cannot make the new recording")?;
    let mut writer = Writer::new(file, &header, u64::MAX)?;
    read(&arguments.from, |input| {
        if let Some(input) = kept.cut(input) {
            writer.push(input.borrow())?;
        }
        Ok(())
    })?;
    let (_, totals) = writer.finish()?;
    println!("{} inputs, {} bytes", totals.inputs, totals.file_bytes);
    Ok(())
}
