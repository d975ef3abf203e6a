//! Made-up hosts, told as what the kernel and enrichment would have said about them.
//!
//! A [`Trace`] is a script in a small vocabulary, one sentence an act:
//!
//! ```
//! # use tests::trace::Trace;
//! let mut trace = Trace::new(7);
//! trace.service("/usr/sbin/php-fpm8.2", "php8.2-fpm.service").hums(0.1);
//! trace.at(60.0);
//! let worm = trace.process("php-fpm8.2").forks().user(33, "www-data");
//! worm.execs("/var/www/shop/wp-content/uploads/.x/kworkerd").burns(2.0).for_s(60.0);
//! ```
//!
//! [`Trace::play`] turns it into inputs, second by second: CPUs are shared out among those who want them, whoever
//! gets less waits, and questions of the engine are answered as the enrich thread would, some milliseconds later.
//! The same seed gives the same inputs. Nothing here has a clock, a kernel or a process.

mod act;
mod cpu;
mod image;
mod load;
mod play;
mod pool;
mod record;

pub use act::Act;
pub use image::Image;
pub use load::Load;
pub use play::Play;

use detector::{event::HostInfo, input::ProcessKey};

/// ns in a second.
pub(crate) const SECOND: u64 = 1_000_000_000;
/// Every trace begins this long after boot, ns.
pub const START_NS: u64 = 1_000 * SECOND;
/// Wall clock at boot, seconds since 1970: 14 November 2023, 22:13:20 UTC.
pub const BOOT_UNIX_S: i64 = 1_700_000_000;

/// A script, and the host it plays on.
#[derive(Debug)]
pub struct Trace {
    seed: u64,
    cpus: u32,
    now_ns: u64,
    next_pid: u32,
    processes: Vec<Process>,
}

/// One process over its whole life.
#[derive(Clone, Debug)]
struct Process {
    key: ProcessKey,
    parent: usize,
    images: Vec<(u64, Image)>,
    uid: u32,
    user: String,
    unit: Option<String>,
    comm: Vec<(u64, String)>,
    nice: i32,
    policy: u32,
    threads: u32,
    loads: Vec<Load>,
    end: Option<(u64, u32)>,
    contacts: Vec<Contact>,
    listens: Option<Listens>,
}

/// One outbound connection.
#[derive(Clone, Copy, Debug)]
struct Contact {
    at_ns: u64,
    ip: [u8; 4],
    port: u16,
    answers: bool,
    /// It talks about mining, for as long as the connection is open.
    mines: bool,
}

/// A listening port: connections a second over spans of time.
#[derive(Clone, Debug)]
struct Listens {
    at_ns: u64,
    port: u16,
    visits: Vec<(u64, u64, f64)>,
}

impl Process {
    /// Where it is, at that time, in its sequence of images.
    fn image_at(&self, at_ns: u64) -> Option<&Image> {
        let begun = self
            .images
            .iter()
            .take_while(|(from_ns, _)| *from_ns <= at_ns);
        begun.last().map(|(_, image)| image)
    }

    fn lives_at(&self, at_ns: u64) -> bool {
        self.key.start_ns <= at_ns && self.end.is_none_or(|(end_ns, _)| at_ns < end_ns)
    }
}

impl Trace {
    /// Two CPUs, process 1, and nothing else yet; the script is at second 0.
    pub fn new(seed: u64) -> Trace {
        let init = Process {
            key: ProcessKey {
                tgid: 1,
                start_ns: 0,
            },
            parent: 0,
            images: vec![(0, Image::file("/usr/lib/systemd/systemd"))],
            uid: 0,
            user: "root".to_owned(),
            unit: None,
            comm: Vec::new(),
            nice: 0,
            policy: 0,
            threads: 1,
            loads: Vec::new(),
            end: None,
            contacts: Vec::new(),
            listens: None,
        };
        Trace {
            seed,
            cpus: 2,
            now_ns: START_NS,
            next_pid: 400,
            processes: vec![init],
        }
    }

    /// Another number of CPUs.
    pub fn cpus(&mut self, cpus: u32) -> &mut Self {
        self.cpus = cpus;
        self
    }

    /// How many CPUs.
    pub fn cpu_count(&self) -> u32 {
        self.cpus
    }

    /// What follows happens this many seconds after the trace's begin.
    pub fn at(&mut self, second: f64) -> &mut Self {
        self.now_ns = START_NS + ns(second);
        self
    }

    /// A packaged program that ran before the trace began, as a service of its own.
    pub fn service(&mut self, path: &str, unit: &str) -> Act<'_> {
        let before = START_NS - 500 * SECOND + self.processes.len() as u64 * SECOND;
        let who = self.add(0, before);
        let process = &mut self.processes[who];
        process.images.push((before, Image::file(path)));
        process.unit = Some(unit.to_owned());
        Act::new(self, who)
    }

    /// Whoever runs a program of that file name now; the latest of several.
    ///
    /// # Panics
    /// Nobody does: the script is wrong.
    pub fn process(&mut self, name: &str) -> Act<'_> {
        let now_ns = self.now_ns;
        let runs = |process: &Process| {
            process.lives_at(now_ns)
                && process
                    .image_at(now_ns)
                    .is_some_and(|image| image.name() == name)
        };
        let who = self
            .processes
            .iter()
            .rposition(runs)
            .unwrap_or_else(|| panic!("nobody runs {name} at that time"));
        Act::new(self, who)
    }

    /// Somebody the script knows by number ([`Act::id`]).
    pub fn of(&mut self, who: usize) -> Act<'_> {
        Act::new(self, who)
    }

    /// The process's identity on the host.
    pub fn key(&self, who: usize) -> ProcessKey {
        self.processes[who].key
    }

    /// Inputs of the first `seconds`.
    pub fn play(self, seconds: u32) -> Play {
        Play::new(self, seconds)
    }

    fn add(&mut self, parent: usize, at_ns: u64) -> usize {
        let tgid = self.next_pid;
        // Room for the thread ids of a process with many threads.
        self.next_pid += 40;
        let from = &self.processes[parent];
        let child = Process {
            key: ProcessKey {
                tgid,
                start_ns: at_ns,
            },
            parent,
            images: from
                .image_at(at_ns)
                .filter(|_| parent != 0)
                .map(|image| (at_ns, image.clone()))
                .into_iter()
                .collect(),
            uid: from.uid,
            user: from.user.clone(),
            unit: from.unit.clone(),
            comm: Vec::new(),
            nice: from.nice,
            policy: from.policy,
            threads: 1,
            loads: Vec::new(),
            end: None,
            contacts: Vec::new(),
            listens: None,
        };
        self.processes.push(child);
        self.processes.len() - 1
    }
}

/// The made-up host's own identity.
pub fn host(cpus: u32) -> HostInfo {
    HostInfo {
        id: "0123456789abcdef0123456789abcdef".to_owned(),
        name: "web03".to_owned(),
        boot_id: Some("00000000-0000-4000-8000-000000000000".to_owned()),
        kernel: Some("6.12.0".to_owned()),
        cpu_count: cpus,
        agent_id: "0123456789abcdef0123456789abcdef".to_owned(),
        ..HostInfo::default()
    }
}

/// Seconds as ns.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "scripts are days long at most and never begin before their begin"
)]
pub(crate) fn ns(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}
