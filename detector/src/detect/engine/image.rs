//! Images: judged as far as facts allow, and again when more is known.

use std::sync::Arc;

use super::Engine;
use crate::{
    detect::{
        blame,
        path::PathClass,
        pending::Pending,
        process::{Process, Suspicion},
        rule::{self, Image, Verdict, masqueraded_name},
        watch::Cause,
    },
    incident::{Evidence, FindingType, Severity},
    input::ProcessKey,
    output::Output,
};

impl Engine {
    /// Judges an image as far as facts allow, and lets it wait for the rest.
    pub(super) fn judge(&mut self, mut pending: Pending, out: &mut Vec<Output>) {
        let now_ns = self.world.now_ns();
        pending.late |= pending.is_late(now_ns, &self.world.config);
        if !self.world.has_wall_clock() {
            self.wait(pending);
            return;
        }
        let Some(process) = self.world.table.get(pending.process) else {
            return;
        };
        let image = Image::new(&self.world, process, &pending.image, pending.late);
        let mut verdicts: Vec<Verdict> = rule::judge(&image)
            .filter(|verdict| !pending.said.contains(&verdict.kind))
            // What may be accepted by its content waits for that, as long as any verdict waits for facts.
            .filter(|verdict| image.main().settled || !self.book.may_excuse(verdict.kind))
            .collect();
        let (main, scripted) = (image.main(), image.operand.is_some());
        let path_unknown = main.class == PathClass::Unknown && !process.facts_current;
        let matters = if scripted {
            image.web_service.is_some()
        } else {
            !main.is_packaged()
        };
        let path_matters = path_unknown && matters;
        // A script that is gone is not told: nobody waits for it beyond the deadline.
        let told = image.views().all(|view| view.facts.is_some());
        let done = (told || scripted && pending.late) && !path_matters || pending.is_over(now_ns);
        let process_key = pending.process;
        verdicts.sort_by_key(|verdict| verdict.kind);
        for verdict in verdicts {
            pending.said.push(verdict.kind);
            if verdict.kind == FindingType::MasqueradedName {
                self.name_told(process_key, verdict.severity);
            }
            if let Some(suspicion) = verdict.suspicion {
                self.suspect(&pending, suspicion, verdict.severity);
            }
            // Its first words may come before its owner is known.
            if verdict.severity >= Severity::Warning && verdict.kind.accuses() {
                self.watches.look(process_key, Cause::Suspect, now_ns, out);
            }
            self.report(
                process_key,
                verdict.kind,
                verdict.severity,
                verdict.evidence,
                out,
            );
        }
        self.came_back(&mut pending, out);
        let suspect = self
            .world
            .table
            .get(process_key)
            .is_some_and(|process| process.suspicion.is_some() && !process.facts_current);
        if suspect || path_matters {
            self.world.enrich(process_key, false, out);
        }
        self.early_connections(process_key, out);
        self.book.flush(&mut self.world, out);
        if !done {
            self.wait(pending);
        }
    }

    fn wait(&mut self, pending: Pending) {
        let table = &self.world.table;
        self.pending
            .push(pending, |key| blame::is_alive(table, key));
    }

    /// Says so where the image is a program that ended before.
    fn came_back(&mut self, pending: &mut Pending, out: &mut Vec<Output>) {
        if pending.said.contains(&FindingType::Respawn) {
            return;
        }
        let table = &self.world.table;
        let verdict = table
            .get(pending.process)
            .and_then(|process| self.respawns.judge(process, &pending.image, &self.world));
        if let Some((severity, evidence)) = verdict {
            pending.said.push(FindingType::Respawn);
            let evidence = Evidence::Respawn(evidence);
            let kind = FindingType::Respawn;
            self.report(pending.process, kind, severity, evidence, out);
        }
    }

    /// Looks again at what a process calls itself, and says it once for each loudness.
    pub(super) fn judge_name(&mut self, key: ProcessKey, out: &mut Vec<Output>) {
        if !self.world.has_wall_clock() {
            return;
        }
        let Some(process) = self.world.table.get(key) else {
            return;
        };
        let Some(exec) = process.image.as_deref() else {
            return;
        };
        let image = Image::new(&self.world, process, exec, true);
        let Some(verdict) = masqueraded_name::judge(&image) else {
            return;
        };
        if process.name_told >= Some(verdict.severity) {
            return;
        }
        self.name_told(key, verdict.severity);
        self.report(key, verdict.kind, verdict.severity, verdict.evidence, out);
    }

    fn name_told(&mut self, key: ProcessKey, severity: Severity) {
        if let Some(process) = self.world.table.get_mut(key) {
            process.name_told = process.name_told.max(Some(severity));
        }
    }

    /// Marks everybody who runs this very image: children may have been forked before the verdict.
    fn suspect(&mut self, pending: &Pending, suspicion: Suspicion, severity: Severity) {
        let mark = |process: &mut Process| {
            let image = process.image.as_ref();
            let same = image.is_some_and(|image| Arc::ptr_eq(image, &pending.image));
            if same && process.suspicion.is_none_or(|(_, known)| known < severity) {
                process.suspicion = Some((suspicion, severity));
            }
        };
        let table = &mut self.world.table;
        if table.has_children(pending.process) {
            table.iter_mut().for_each(mark);
        } else if let Some(process) = table.get_mut(pending.process) {
            mark(process);
        }
    }
}
