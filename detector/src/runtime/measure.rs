//! What the loop tells Prometheus: gathered when somebody asks.

use std::{collections::BTreeMap, fs};

use bytes::Bytes;

use super::Runtime;
use crate::{
    budget::Stage,
    incident::Severity,
    loss,
    metrics::{Page, Scrape},
    source::scan::Clock,
    vitals,
};

/// A text is given again for this long, ns: whoever asks more often learns nothing new.
const FRESH_NS: u64 = 1_000_000_000;

/// The text given last, and when, ns since boot.
#[derive(Debug, Default)]
pub(super) struct Told {
    text: Bytes,
    at_ns: u64,
}

impl Runtime {
    /// Answers one question.
    pub(super) fn scraped(&mut self, scrape: Scrape) {
        let now = Clock::now().boot_ns;
        if self.page.text.is_empty() || now.saturating_sub(self.page.at_ns) >= FRESH_NS {
            self.page = Told {
                text: self.gather().render().into(),
                at_ns: now,
            };
        }
        // Whoever asked may have gone.
        let _ = scrape.send(self.page.text.clone());
    }

    fn gather(&self) -> Page {
        let mut page = Page::default();
        page.gauge("detector_build_info", "The program that runs.")
            .with([("version", env!("CARGO_PKG_VERSION"))], 1_u64);
        self.tally.tell(&mut page);
        let lost = page.counter("detector_losses", "What was lost, by name.");
        for name in loss::names() {
            lost.with([("name", name)], self.losses.total(name));
        }
        self.gather_probes(&mut page);
        self.gather_engine(&mut page);
        self.report.tell(&mut page);
        self.gather_degraded(&mut page);
        self.gather_budget(&mut page);
        self.gather_process(&mut page);
        page
    }

    fn gather_probes(&self, page: &mut Page) {
        let attached = page.gauge(
            "detector_probe_up",
            "The probe works, or will when it is needed.",
        );
        for (probe, state) in &self.loaded.status.probes {
            attached.with([("probe", probe.name())], state.works());
        }
        let setting = fs::read_to_string("/proc/sys/kernel/bpf_stats_enabled");
        let setting = setting.ok().map(|text| text.trim() == "1");
        if let Some(enabled) = setting {
            page.gauge(
                "detector_bpf_stats_enabled",
                "kernel.bpf_stats_enabled: run counts and times below are missing or stand still without.",
            )
            .is(enabled);
        }
        let runs: Vec<_> = self.loaded.runs().collect();
        // Others can switch them on without the setting.
        let are_counted =
            setting == Some(true) || runs.iter().any(|(_, runs)| runs.count > Some(0));
        if !are_counted {
            return;
        }
        let counts = page.counter(
            "detector_bpf_runs",
            "Runs of a program while statistics were on.",
        );
        for (program, runs) in &runs {
            runs.count
                .map(|count| counts.with([("program", program)], count));
        }
        let times = page.counter(
            "detector_bpf_run_seconds",
            "How long those took, 20 to 70 ns a run for the statistics included.",
        );
        for (program, runs) in &runs {
            let seconds = runs.time_ns.map(|ns| ns as f64 / 1e9);
            seconds.map(|seconds| times.with([("program", program)], seconds));
        }
    }

    fn gather_engine(&self, page: &mut Page) {
        page.gauge(
            "detector_tasks",
            "Threads that ran or waited in the last pass.",
        )
        .is(self.scan.tasks.len());
        page.gauge("detector_processes", "Processes known.")
            .is(self.engine.process_count());
        let mut open = [0_u64; Severity::ALL.len()];
        for severity in self.engine.open_severities() {
            open[severity as usize] += 1;
        }
        let incidents = page.gauge("detector_open_incidents", "Incidents that go on.");
        for severity in Severity::ALL {
            incidents.with([("severity", severity.name())], open[severity as usize]);
        }
        // Of several tables of one kind, such as those of each incident, the fullest.
        let mut tables: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for size in self.engine.sizes() {
            let table = tables.entry(size.table).or_default();
            *table = (table.0.max(size.entries), table.1.max(size.bound));
        }
        let entries = page.gauge(
            "detector_table_entries",
            "Entries of a table of the engine.",
        );
        for (table, (count, _)) in &tables {
            entries.with([("table", table)], *count);
        }
        let bounds = page.gauge(
            "detector_table_bound_entries",
            "Most entries the table can have.",
        );
        for (table, (_, bound)) in &tables {
            bounds.with([("table", table)], *bound);
        }
        page.counter(
            "detector_questions_answered",
            "Questions about processes and files answered.",
        )
        .is(self.enricher.answered());
    }

    fn gather_degraded(&self, page: &mut Page) {
        let degraded = page.gauge(
            "detector_degraded",
            "What is missing or worse than it should be.",
        );
        for (probe, _) in self.loaded.status.missing() {
            degraded.with([("what", probe.name())], 1_u64);
        }
        if self.budget.stage() != Stage::Full {
            degraded.with([("what", "cpu_budget")], 1_u64);
        }
        if self.budget.is_short() {
            degraded.with([("what", "memory_budget")], 1_u64);
        }
        if !self.report.is_durable() {
            degraded.with([("what", "state")], 1_u64);
        }
    }

    fn gather_budget(&self, page: &mut Page) {
        let stage = page.gauge(
            "detector_budget_stage",
            "What is given up to stay within the budget: 0 nothing, 1 hashing, 2 connections as well.",
        );
        stage.is(self.budget.stage() as usize);
        page.gauge("detector_budget_cpu_ratio", "budget.cpu_share.")
            .is(self.limits.cpu_share);
        page.gauge("detector_budget_memory_bytes", "budget.memory_bytes.")
            .is(self.limits.memory_bytes);
    }

    fn gather_process(&self, page: &mut Page) {
        let own = vitals::own();
        page.counter("process_cpu_seconds", "CPU time of the detector.")
            .is(own.cpu.as_secs_f64());
        page.gauge(
            "process_resident_memory_bytes",
            "Resident memory of the detector.",
        )
        .is(own.rss_bytes);
        page.gauge(
            "detector_anonymous_memory_bytes",
            "The part of it that is no file's: what the budget is about.",
        )
        .is(own.anonymous_bytes);
        page.gauge(
            "process_start_time_seconds",
            "When the detector was started, since 1970.",
        )
        .is(self.started.unix_ns as f64 / 1e9);
        let (open, most) = vitals::descriptors();
        if let Some(open) = open {
            page.gauge("process_open_fds", "Descriptors open.").is(open);
        }
        if let Some(most) = most {
            page.gauge("process_max_fds", "Descriptors there may be.")
                .is(most);
        }
    }
}
