//! The only loop: source → engine → incident → sinks.
//!
//! One owner of everything, one thread: what arrives is applied at once and to its end, so the order
//! of inputs is the order of effects. Nothing here blocks on a disk or a network: enrichment, standard
//! output and HTTP have threads or tasks of their own behind bounded queues that count what they drop.

use std::{
    hash::{BuildHasher as _, RandomState},
    path::PathBuf,
    pin::{Pin, pin},
    time::{Duration, Instant},
};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::{Sleep, sleep},
};

use crate::{
    budget::{self, Budget, Stage},
    config::Config,
    detect::{self, Engine},
    enrich::{self, Answer, Enricher},
    event, host,
    input::{Input, Scan, ScriptFacts},
    kernel::{self, Facts, Loaded, Plan, Probe, Sizes, State, WatchError, privilege},
    loss::{self, Losses},
    metrics::{self, Scrape, Tally},
    output::Output,
    recording::{Recorder, RecordingError},
    report::{Format, Report},
    reread::Reread,
    source::{
        doze::Doze,
        ring,
        scan::{Clock, Scanner},
        timer::Timer,
    },
    state, vitals,
};

mod drain;
mod economy;
mod integrity;
mod measure;
mod memory;
mod record;

use drain::Left;
use integrity::Integrity;
pub use record::RecordTo;

/// The wire promises one heartbeat in this time; a receiver takes silence for an alarm.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How long sinks may take to deliver what is queued when the program ends.
const FLUSH: Duration = Duration::from_secs(5);

/// What to run, and how.
#[derive(Debug)]
pub struct Options {
    /// The configuration in force.
    pub config: Config,
    /// Where it came from, to read it again on SIGHUP; `None`: the default place.
    pub config_path: Option<PathBuf>,
    /// Ranges from the command line that count as the outside world; survive a reload.
    pub treat_as_remote: Vec<ipnet::IpNet>,
    /// What goes to standard output.
    pub format: Format,
    /// Stop by itself after this long.
    pub duration: Option<Duration>,
    /// Write down what the engine is told.
    pub record: Option<RecordTo>,
}

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A probe without which nothing can be promised.
    #[error("cannot watch this host without:{}\nneeded: root, or the capabilities CAP_BPF and CAP_PERFMON (and CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH to name and hash other users' binaries), and a kernel with BTF; `detector check` says more", list(.0))]
    Essentials(Vec<(Probe, String)>),
    /// The BPF object could not be loaded at all.
    #[error(transparent)]
    Load(#[from] crate::kernel::LoadError),
    /// An essential probe hangs no more where it was attached, and the right to attach it was given up.
    #[error(
        "the probe `{0}` was detached from outside: this ends with status 75, to be started again with all probes"
    )]
    Detached(&'static str),
    /// A pass over the tasks failed.
    #[error(transparent)]
    Scan(#[from] crate::source::scan::ScanError),
    /// A receiver cannot start.
    #[error(transparent)]
    Receiver(#[from] crate::deliver::StartError),
    /// The recording cannot be begun, or not be finished.
    #[error("cannot write the recording {}: {source}", .path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Why.
        source: RecordingError,
    },
    /// A thread, timer or signal handler cannot be had.
    #[error("cannot start: {0}")]
    Start(#[from] std::io::Error),
}

fn list(missing: &[(Probe, String)]) -> String {
    missing
        .iter()
        .map(|(probe, why)| format!("\n  {} ({}): {why}", probe.name(), probe.purpose()))
        .collect()
}

/// Everything the loop owns.
struct Runtime {
    loaded: Loaded,
    scanner: Scanner,
    scan: Scan,
    engine: Engine,
    outputs: Vec<Output>,
    recorder: Option<Recorder>,
    enricher: enrich::Handle,
    report: Report,
    losses: Losses,
    malformed: u64,
    watches_failed: u64,
    last_kernel_event_ns: Option<u64>,
    tally: Tally,
    metrics: metrics::Server,
    page: measure::Told,
    integrity: Integrity,
    /// What the last drain left in the rings.
    left: Left,
    budget: Budget,
    /// `[budget]`.
    limits: budget::Config,
    /// Records of connections not looked at.
    shed: u64,
    statm: Reread,
    config_path: PathBuf,
    scan_interval: Duration,
    started: Clock,
}

/// Watches until told to stop.
///
/// # Errors
/// [`RunError`]: nothing was watched, or the kernel stopped answering.
pub async fn run(options: Options) -> Result<(), RunError> {
    let facts = Facts::read();
    let plan = Plan::new(&facts);
    let mut loaded = load(&facts, &plan, &options.config)?;
    let kept = privilege::shed(&mut loaded).map_err(std::io::Error::from)?;
    tracing::info!(capabilities = privilege::names(kept), "attached");
    let kernel = options.config.kernel.clone();
    let started = Clock::now();
    let host = event::HostInfo {
        redactor: options.config.privacy.redactor(),
        ..host::info()
    };
    let (report, before) = Report::start(host.clone(), &options.config, options.format, started)?;
    let (mut before, mut told, memory) = before.split();
    let (enricher, mut answers) = Enricher::spawn(&options.config.enrich, Some(memory))?;
    let mut degraded: Vec<String> = plan.degraded.clone();
    degraded.extend(
        loaded
            .status
            .missing()
            .map(|(probe, why)| format!("no {}: {why}", probe.purpose())),
    );
    degraded.append(&mut before.trouble);
    let (mut metrics, mut scrapes) = metrics::Server::new();
    degraded.append(&mut metrics.listen(&options.config.metrics));
    // The standard library's keys are random; identifiers need no more.
    let seed = detect::Seed(RandomState::new().hash_one(started.unix_ns));
    let addresses = host::addresses();
    let recorder = options.record.as_ref();
    let recorder = recorder
        .map(|to| record::begin(to, &options.config, &host, &addresses, seed, started))
        .transpose()?;
    let mut runtime = Runtime {
        scanner: Scanner::default(),
        scan: Scan::default(),
        engine: Engine::new(options.config.for_engine(&addresses), seed),
        outputs: Vec::new(),
        recorder,
        enricher,
        report,
        losses: Losses::default(),
        malformed: 0,
        watches_failed: 0,
        last_kernel_event_ns: None,
        tally: Tally::default(),
        metrics,
        page: measure::Told::default(),
        integrity: Integrity::new(&loaded, Clock::now()),
        left: Left::default(),
        budget: Budget::default(),
        limits: options.config.budget.clone(),
        shed: 0,
        statm: Reread::open(vitals::STATM),
        config_path: integrity::config_path(options.config_path.as_ref()),
        scan_interval: Duration::from_millis(kernel.scan_interval_ms),
        started,
        loaded,
    };
    runtime.report.started(&degraded, started);
    runtime.learned(&before);
    runtime.first_pass()?;
    runtime.recall(before, started);
    let served = runtime
        .serve(options, &kernel, &mut answers, &mut told, &mut scrapes)
        .await;
    if let Err(error @ RunError::Scan(_)) = &served {
        runtime
            .report
            .degraded(&format!("it ends: {error}"), None, Clock::now());
    }
    runtime.stop(served).await
}

fn load(facts: &Facts, plan: &Plan, config: &Config) -> Result<Loaded, RunError> {
    let essentials = plan.skipped_essentials();
    if !essentials.is_empty() {
        return Err(RunError::Essentials(essentials));
    }
    let loaded = Loaded::new(facts, plan, Sizes::from(&config.kernel))?;
    for (probe, state) in &loaded.status.probes {
        match state {
            State::Attached => tracing::debug!(probe = probe.name(), "attached"),
            State::Standby => tracing::debug!(probe = probe.name(), "ready to be attached"),
            State::Skipped(why) | State::Refused(why) => {
                tracing::warn!(
                    probe = probe.name(),
                    lost = probe.purpose(),
                    why,
                    "not attached"
                );
            }
        }
    }
    let missing: Vec<_> = loaded
        .status
        .missing_essentials()
        .into_iter()
        .map(|(probe, why)| (probe, why.to_owned()))
        .collect();
    if missing.is_empty() {
        Ok(loaded)
    } else {
        Err(RunError::Essentials(missing))
    }
}

/// Waits for a timer; without one, for ever.
async fn until(timer: &mut Option<Pin<&mut Sleep>>) {
    match timer {
        Some(timer) => timer.as_mut().await,
        None => std::future::pending().await,
    }
}

impl Runtime {
    /// The baseline of every task, and the question what those processes are.
    fn first_pass(&mut self) -> Result<(), RunError> {
        self.catch_up();
        self.pass()?;
        let tasks = self.scan.tasks.clone();
        // Refused only by a queue shorter than one: counted there.
        let _ = self.enricher.snapshot(tasks);
        Ok(())
    }

    async fn serve(
        &mut self,
        mut options: Options,
        kernel: &crate::config::Kernel,
        answers: &mut mpsc::Receiver<Answer>,
        told: &mut mpsc::Receiver<state::Told>,
        scrapes: &mut mpsc::Receiver<Scrape>,
    ) -> Result<(), RunError> {
        let every = |ms| Timer::every(Duration::from_millis(ms));
        let drain = every(kernel.drain_interval_ms)?;
        let scan = every(kernel.scan_interval_ms)?;
        let heartbeat = Timer::every(HEARTBEAT)?;
        self.heartbeat();
        let process_ring = ring::watermark(&self.loaded.process_ring)?;
        let network_ring = ring::watermark(&self.loaded.network_ring)?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut continued = signal(SignalKind::from_raw(libc::SIGCONT))?;
        // Made once: a timer that is made anew in every round costs a wake-up each.
        let end = pin!(sleep(options.duration.unwrap_or_default()));
        let mut end = options.duration.map(|_| end);
        let mut doze = Doze::default();
        loop {
            tokio::select! {
                biased;
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                () = until(&mut end) => return Ok(()),
                _ = continued.recv() => self.integrity.continued(),
                tick = scan.tick() => {
                    tick?;
                    let taken = self.catch_up();
                    self.rest(&drain, doze.drained(taken), &mut doze)?;
                    self.pass()?;
                    let uptime_ns = self.scan.at_ns.saturating_sub(self.started.boot_ns);
                    if let Some(probe) = self.integrity.to_attach_again(uptime_ns) {
                        return Err(RunError::Detached(probe.name()));
                    }
                    if record::is_over(&options.record, &mut self.recorder) {
                        return Ok(());
                    }
                }
                tick = drain.tick() => {
                    tick?;
                    let taken = self.drain();
                    self.rest(&drain, doze.ticked(taken), &mut doze)?;
                }
                Ok(mut ready) = process_ring.readable() => {
                    self.drain_between(&drain, &mut doze)?;
                    ready.clear_ready();
                }
                Ok(mut ready) = network_ring.readable() => {
                    self.drain_between(&drain, &mut doze)?;
                    ready.clear_ready();
                }
                Some(told) = told.recv() => self.told(told),
                Some(answer) = answers.recv() => self.answer(answer),
                tick = heartbeat.tick() => { tick?; self.heartbeat(); }
                Some(scrape) = scrapes.recv() => self.scraped(scrape),
                _ = hangup.recv() => {
                    self.report.reloading();
                    self.reload(&mut options);
                    self.report.ready();
                }
                // Last: whatever else is due comes before the rest of a flood. It yields to the tasks that deliver.
                () = tokio::task::yield_now(), if self.left.is_any() => {
                    self.drain_between(&drain, &mut doze)?;
                }
            }
        }
    }

    /// The pass of one second.
    fn pass(&mut self) -> Result<(), RunError> {
        let engine = self.engine.counters();
        let mut own = self.losses.since_last(&[
            (enrich::LOSS, self.enricher.dropped()),
            ("record_malformed", self.malformed),
            ("process_forgotten", engine.live_forgotten),
            ("thread_end_unclaimed", engine.thread_ends_unclaimed),
            ("verdict_dropped", engine.verdicts_dropped),
            ("incident_refused", engine.incidents_refused),
            ("listener_refused", engine.listeners_refused),
            ("flow_refused", engine.flows_refused),
            (
                "watch_refused",
                engine.watches_refused + self.watches_failed,
            ),
            (loss::SHED, self.shed),
        ]);
        own.extend(self.losses.since_last(&self.report.losses()));
        own.extend(self.losses.since_last(&[record::loss(&self.recorder)]));
        let clock = Clock::now();
        let begun = Instant::now();
        self.scanner
            .pass(&mut self.loaded, clock, &own, &mut self.scan)?;
        self.tally.scan.add(begun.elapsed());
        self.report.refusals(clock);
        for loss in &self.scan.losses {
            self.losses.add(loss);
            tracing::error!(class = loss.class, count = loss.count, "lost");
        }
        let (engine, outputs) = (&mut self.engine, &mut self.outputs);
        let begun = Instant::now();
        record::tell(Input::Scan(&self.scan), &mut self.recorder, engine, outputs);
        self.tally.judge.add(begun.elapsed());
        self.tally.passes += 1;
        self.act();
        self.look_after_itself(clock);
        self.economize(clock);
        self.report.state().tick(clock.unix_ns);
        self.report.alive();
        Ok(())
    }

    fn answer(&mut self, answer: Answer) {
        let now_ns = Clock::now().boot_ns;
        if let Answer::Executable(facts) | Answer::Script(ScriptFacts { file: facts, .. }) = &answer
        {
            self.saw(facts);
        }
        let (engine, outputs) = (&mut self.engine, &mut self.outputs);
        let mut apply = |input: Input<'_>| record::tell(input, &mut self.recorder, engine, outputs);
        match answer {
            Answer::OwnFiles(files) => self.own_files(&files, Clock::now()),
            Answer::OwnFacts(facts) => self.own_facts(&facts, Clock::now()),
            Answer::Process(facts) => apply(Input::Process(now_ns, &facts)),
            Answer::Executable(facts) => apply(Input::Executable(now_ns, &facts)),
            Answer::Snapshot(exec) => apply(Input::Exec(&exec)),
            Answer::Sockets(sockets) => apply(Input::Sockets(now_ns, &sockets)),
            Answer::Script(facts) => apply(Input::Script(now_ns, &facts)),
            Answer::SnapshotEnd { told, missed } => {
                let probes = self.loaded.status.attached().count();
                tracing::info!(probes, processes = told, missed, "detector ready");
                self.report.ready();
                // Looking around took memory, and code, that watching does not.
                kernel::give_memory_back();
            }
        }
        self.act();
    }

    /// Does what the engine asked for.
    fn act(&mut self) {
        for output in self.outputs.drain(..) {
            match output {
                // A refused question is counted by its queue.
                Output::Enrich(question) => drop(self.enricher.enrich(question)),
                Output::Watch(_) if self.budget.stage() == Stage::NoNetwork => {
                    self.watches_failed += 1;
                }
                Output::Watch(watch) => {
                    // Where packets cannot be looked into at all, that was said at the start.
                    if let Err(error) = self.loaded.watch(&watch)
                        && !matches!(error, WatchError::Unavailable)
                    {
                        tracing::debug!(%error, tgid = watch.process.tgid, "process not watched");
                        self.watches_failed += 1;
                    }
                }
                Output::Unwatch(process) => {
                    if let Err(error) = self.loaded.unwatch(process) {
                        tracing::debug!(%error, tgid = process.tgid, "process still watched");
                        self.watches_failed += 1;
                    }
                }
                Output::Finding(finding) => self.report.finding(&finding),
                Output::Incident(change, incident) => {
                    self.tally.incident(change, incident.severity);
                    self.report.incident(change, &incident);
                }
                Output::Baseline(baseline) => self.report.state().save(baseline),
                Output::Destination(to) => self.report.state().saw_destination(to),
            }
        }
    }

    fn heartbeat(&mut self) {
        let now = Clock::now();
        let age = self
            .last_kernel_event_ns
            .map(|at_ns| now.boot_ns.saturating_sub(at_ns) / 1_000_000);
        let own = vitals::own();
        let vitals = event::HeartbeatDetector {
            uptime_s: (now.boot_ns - self.started.boot_ns) / 1_000_000_000,
            last_kernel_event_age_ms: age,
            losses: self.losses.totals(),
            probes: self
                .loaded
                .status
                .attached()
                .map(|probe| probe.name().to_owned())
                .collect(),
            open_incidents: u32::try_from(self.engine.open_incidents()).unwrap_or(u32::MAX),
            processes: u32::try_from(self.engine.process_count()).unwrap_or(u32::MAX),
            own_cpu_ms: u64::try_from(own.cpu.as_millis()).unwrap_or(u64::MAX),
            own_rss_bytes: own.rss_bytes,
            ..event::HeartbeatDetector::default()
        };
        self.report.heartbeat(vitals, now);
    }

    /// Reads the configuration again: takes it, or keeps the old one and says what is wrong.
    fn reload(&mut self, options: &mut Options) {
        self.integrity.reloaded();
        let mut config = match Config::load_or_default(options.config_path.as_deref()) {
            Ok(config) => config,
            Err(error) => {
                tracing::error!(%error, "configuration not reloaded, the old one stays in force");
                return;
            }
        };
        config
            .network
            .treat_as_remote
            .extend(&options.treat_as_remote);
        for (section, changed) in [
            ("kernel", config.kernel != options.config.kernel),
            ("state", config.state != options.config.state),
            ("enrich", config.enrich != options.config.enrich),
        ] {
            if changed {
                tracing::warn!(section, "changed; takes effect at the next start");
            }
        }
        if options.record.as_ref().is_some_and(|to| to.then_stop) {
            // A recording is told to nobody.
            config.sink.clear();
        }
        if let Err(error) = self.report.reconfigured(&config) {
            tracing::error!(%error, "configuration not reloaded, the old one stays in force");
            return;
        }
        self.engine
            .reconfigure(config.for_engine(&host::addresses()));
        self.limits.clone_from(&config.budget);
        for reason in self.metrics.listen(&config.metrics) {
            self.report.degraded(&reason, None, Clock::now());
        }
        options.config = config;
        tracing::info!("configuration reloaded");
    }

    /// Takes what is left in the rings, tells it, and flushes. What was served ends the same way, however it ended.
    async fn stop(mut self, served: Result<(), RunError>) -> Result<(), RunError> {
        self.catch_up();
        for baseline in self.engine.baselines() {
            self.report.state().save(baseline);
        }
        let why = match &served {
            Err(RunError::Detached(probe)) => format!("to attach the probe `{probe}` again"),
            _ => "stop".to_owned(),
        };
        self.report.stop(&why, Clock::now(), FLUSH).await;
        if let Err(RunError::Detached(_)) = &served {
            // A descriptor was closed under it and may be another's by now: the kernel closes what is left.
            std::mem::forget(self.loaded);
        }
        served.and(self.recorder.map_or(Ok(()), record::finish))
    }
}
