//! The thread that may block, and the queues to and from it.
//!
//! Questions are never waited for: a full queue drops the newest and counts it. Answers wait for the
//! reader, so a slow reader fills the queue of questions and nothing else. The thread ends when the last
//! [`Handle`] or the receiver is dropped.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc as sync_mpsc,
    },
    time::Instant,
};

use detector_common::event;
use tokio::sync::mpsc;

use super::{
    executable::Executables,
    own::{Own, OwnFacts, OwnFiles},
    preload, process,
    procfs::ProcessDir,
    snapshot, socket,
    user::Users,
};
use crate::{
    config,
    input::{Exec, ExecutableFacts, Owner, ProcessFacts, ScriptFacts, Sockets},
    output::Enrich,
    state::Memory,
};

/// Stable name of the loss of questions.
pub const LOSS: &str = "enrich_dropped";

/// Where user names come from.
const PASSWD: &str = "/etc/passwd";

/// What the thread is asked.
#[derive(Debug)]
enum Request {
    Enrich(Enrich),
    Snapshot(Vec<event::Task>),
    /// With the path of the configuration.
    OwnFiles(PathBuf),
    OwnFacts,
    Forget,
}

/// What the thread found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// About a process: exactly one for each question, unless the queue was full.
    Process(ProcessFacts),
    /// About the executable in question: always, if one was asked about.
    Executable(ExecutableFacts),
    /// About the script a process runs, under the script's own identity: after
    /// [`Answer::Executable`], if the script was reached while the process lived.
    Script(ScriptFacts),
    /// A process older than the daemon.
    Snapshot(Box<Exec>),
    /// Sockets older than the daemon: once for each snapshot, before its end.
    Sockets(Sockets),
    /// The end of one snapshot: how many images were told, and how many processes ended, or kept
    /// changing, before they could be read.
    SnapshotEnd {
        /// [`Answer::Snapshot`]s sent.
        told: u64,
        /// Processes missed.
        missed: u64,
    },
    /// The daemon's own files, as they lie on the disk.
    OwnFiles(OwnFiles),
    /// More about its program.
    OwnFacts(Box<OwnFacts>),
}

/// A question that was not taken. It is counted already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the queue of questions is full, or its thread has ended")]
pub struct Refused;

/// Counters that only grow.
#[derive(Debug, Default)]
struct Counters {
    dropped: AtomicU64,
    answered: AtomicU64,
    /// Nothing is hashed: the loop says so.
    rests: AtomicBool,
}

/// Asks questions. Clones share queue and counters.
#[derive(Clone, Debug)]
pub struct Handle {
    requests: sync_mpsc::SyncSender<Request>,
    counters: Arc<Counters>,
}

impl Handle {
    /// Asks about a process and maybe its executable. Never blocks.
    ///
    /// # Errors
    /// [`Refused`] when the queue is full: the question is lost and counted.
    pub fn enrich(&self, question: Enrich) -> Result<(), Refused> {
        self.send(Request::Enrich(question))
    }

    /// Asks for the images of processes older than the daemon; tasks that lead no process of user
    /// space are skipped. One request, however many tasks. Never blocks.
    ///
    /// # Errors
    /// [`Refused`] when the queue is full: the whole request is lost and counted as one.
    pub fn snapshot(&self, tasks: Vec<event::Task>) -> Result<(), Refused> {
        self.send(Request::Snapshot(tasks))
    }

    /// Whether nothing is hashed until further notice.
    pub fn rest(&self, rests: bool) {
        self.counters.rests.store(rests, Relaxed);
    }

    /// Has it forget what can be found out again. Not counted when there is no room: the rest is as large as it was.
    pub fn forget(&self) {
        let _ = self.requests.try_send(Request::Forget);
    }

    /// Asks how the daemon's own files look. Not counted when there is no room: it is asked again soon.
    pub fn own_files(&self, config: PathBuf) {
        let _ = self.requests.try_send(Request::OwnFiles(config));
    }

    /// Asks who ships what lies where the daemon's program was. As [`Handle::own_files`].
    pub fn own_facts(&self) {
        let _ = self.requests.try_send(Request::OwnFacts);
    }

    /// Questions lost so far, to be reported as [`LOSS`].
    pub fn dropped(&self) -> u64 {
        self.counters.dropped.load(Relaxed)
    }

    /// Questions answered so far.
    pub fn answered(&self) -> u64 {
        self.counters.answered.load(Relaxed)
    }

    fn send(&self, request: Request) -> Result<(), Refused> {
        self.requests.try_send(request).map_err(|_| {
            self.counters.dropped.fetch_add(1, Relaxed);
            Refused
        })
    }
}

/// Owns what enrichment remembers; lives on its thread.
#[derive(Debug)]
pub struct Enricher {
    executables: Executables,
    users: Users,
    memory: Option<Memory>,
    own: Option<Own>,
    answers: mpsc::Sender<Answer>,
}

/// The reader of answers is gone.
struct Closed;

impl Enricher {
    /// Starts the thread. Without `memory` no program is known.
    ///
    /// # Errors
    /// The thread cannot be started, or `/` not be opened.
    pub fn spawn(
        config: &config::Enrich,
        memory: Option<Memory>,
    ) -> io::Result<(Handle, mpsc::Receiver<Answer>)> {
        let (requests, questions) = sync_mpsc::sync_channel(config.queue);
        let (answers, receiver) = mpsc::channel(config.queue);
        let counters = Arc::new(Counters::default());
        let handle = Handle {
            requests,
            counters: Arc::clone(&counters),
        };
        let mut enricher = Enricher {
            executables: Executables::new(config, Instant::now())?,
            users: Users::new(PASSWD),
            memory,
            own: Own::new(),
            answers,
        };
        std::thread::Builder::new()
            .name("enrich".to_owned())
            .spawn(move || {
                for request in questions {
                    enricher.executables.rest(counters.rests.load(Relaxed));
                    if enricher.answer(request).is_err() {
                        return;
                    }
                    counters.answered.fetch_add(1, Relaxed);
                }
            })?;
        Ok((handle, receiver))
    }

    fn answer(&mut self, request: Request) -> Result<(), Closed> {
        match request {
            Request::Enrich(question) => self.enrich(&question),
            Request::Snapshot(tasks) => self.snapshot(&tasks),
            Request::Forget => {
                self.executables.forget();
                Ok(())
            }
            Request::OwnFiles(config) => match &self.own {
                Some(own) => self.send(Answer::OwnFiles(own.look(&config))),
                None => Ok(()),
            },
            Request::OwnFacts => match &self.own {
                Some(own) => {
                    let facts = own.facts(&mut self.executables, Instant::now());
                    self.send(Answer::OwnFacts(Box::new(facts)))
                }
                None => Ok(()),
            },
        }
    }

    fn enrich(&mut self, question: &Enrich) -> Result<(), Closed> {
        let process = ProcessDir::open(question.process).ok();
        let process = process.as_ref();
        let now = Instant::now();
        let mut facts = process::facts(question, process, &mut self.users);
        if let Some(process) = process {
            facts.preloads = preload::find(process, &mut self.executables, now);
        }
        let script = facts.script_path.clone();
        self.send(Answer::Process(facts))?;
        if let Some(id) = question.executable.filter(|_| question.file_wanted) {
            let facts = self.executables.image(id, process, &question.filename, now);
            let facts = self.remembered(facts);
            self.send(Answer::Executable(facts))?;
        }
        let Some((path, process)) = script.zip(process) else {
            return Ok(());
        };
        match self.executables.script(&path, process, now) {
            Some(file) => {
                let file = self.remembered(file);
                self.send(Answer::Script(ScriptFacts {
                    process: question.process,
                    path,
                    file,
                }))
            }
            None => Ok(()),
        }
    }

    /// With the writer's name, and whether this host is used to the file.
    fn remembered(&mut self, mut facts: ExecutableFacts) -> ExecutableFacts {
        // Only what no package owns is in the inventory.
        if facts.owner == Owner::Unowned
            && let Some(memory) = &mut self.memory
        {
            facts.known = memory.known(&facts);
        }
        if let Some(stat) = &mut facts.stat {
            stat.user_name = self.users.name(stat.uid);
        }
        facts
    }

    fn snapshot(&mut self, tasks: &[event::Task]) -> Result<(), Closed> {
        let (mut told, mut missed) = (0, 0);
        for task in tasks {
            match snapshot::image(task) {
                Ok(exec) => {
                    self.send(Answer::Snapshot(Box::new(exec)))?;
                    told += 1;
                }
                Err(snapshot::SnapshotError::NoProcess { .. }) => {}
                Err(error) => {
                    tracing::debug!(%error, tgid = task.process.tgid, "process not told");
                    missed += 1;
                }
            }
        }
        self.send(Answer::Sockets(socket::snapshot(tasks)))?;
        self.send(Answer::SnapshotEnd { told, missed })
    }

    fn send(&self, answer: Answer) -> Result<(), Closed> {
        self.answers.blocking_send(answer).map_err(|_| Closed)
    }
}
