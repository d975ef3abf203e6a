//! What a process does: the verbs of the vocabulary.

use super::{Contact, Image, Listens, Load, Trace, load::Shape, ns};

/// A process at a moment of the script. Each verb gives the process back, so that a life reads as a sentence.
#[derive(Debug)]
pub struct Act<'t> {
    trace: &'t mut Trace,
    who: usize,
    at_ns: u64,
}

impl<'t> Act<'t> {
    pub(super) fn new(trace: &'t mut Trace, who: usize) -> Self {
        let at_ns = trace.now_ns.max(trace.processes[who].key.start_ns);
        Act { trace, who, at_ns }
    }

    fn me(&mut self) -> &mut super::Process {
        &mut self.trace.processes[self.who]
    }

    /// Its number in the script, to come back to it by [`Trace::of`].
    pub fn id(&self) -> usize {
        self.who
    }

    /// It forks; what follows is about the child.
    pub fn forks(self) -> Act<'t> {
        let who = self.trace.add(self.who, self.at_ns);
        Act { who, ..self }
    }

    /// Seconds later in the script, for this sentence only.
    pub fn after_s(mut self, seconds: f64) -> Self {
        self.at_ns += ns(seconds);
        self
    }

    /// Real user from now on, for it and its children.
    pub fn user(mut self, uid: u32, name: &str) -> Self {
        let me = self.me();
        me.uid = uid;
        me.user = name.to_owned();
        self
    }

    /// Unit (and cgroup) from now on.
    pub fn unit(mut self, unit: &str) -> Self {
        self.me().unit = Some(unit.to_owned());
        self
    }

    /// It executes a file. Below a system folder a package owns it; elsewhere nobody does, and it was written two
    /// seconds ago.
    pub fn execs(self, path: &str) -> Self {
        self.runs(Image::file(path))
    }

    /// It executes an image that was described in detail.
    pub fn runs(mut self, image: Image) -> Self {
        let at_ns = self.at_ns;
        let uid = self.me().uid;
        let image = image.at(at_ns, uid);
        self.me().images.push((at_ns, image));
        self
    }

    /// It changes its name (`prctl`, or writes to `comm`).
    pub fn calls_itself(mut self, comm: &str) -> Self {
        let at_ns = self.at_ns;
        self.me().comm.push((at_ns, comm.to_owned()));
        self
    }

    /// Nice value.
    pub fn nice(mut self, nice: i32) -> Self {
        self.me().nice = nice;
        self
    }

    /// `SCHED_IDLE`.
    pub fn idle_class(mut self) -> Self {
        self.me().policy = 5;
        self
    }

    /// So many threads, which share its load.
    pub fn threads(mut self, count: u32) -> Self {
        self.me().threads = count;
        self
    }

    /// It wants so many CPUs all the time.
    pub fn burns(self, cores: f64) -> Self {
        self.loads(Shape::Steady { cores })
    }

    /// It wants so many CPUs for `duty` of every `period_s` and sleeps for the rest.
    pub fn throttles(self, cores: f64, duty: f64, period_s: f64) -> Self {
        self.loads(Shape::Square {
            cores,
            duty,
            period_s,
        })
    }

    /// Its wish grows from nothing to `cores` over `over_s`.
    pub fn ramps(self, cores: f64, over_s: f64) -> Self {
        self.loads(Shape::Ramp { cores, over_s })
    }

    /// The uneven load of something that serves: around `mean` CPUs, with memory and a tail.
    pub fn hums(self, mean: f64) -> Self {
        self.loads(Shape::Noise {
            mean,
            rho: 0.8,
            sigma: 0.6,
        })
    }

    fn loads(mut self, shape: Shape) -> Self {
        let from_ns = self.at_ns;
        self.me().loads.push(Load {
            from_ns,
            to_ns: u64::MAX,
            shape,
        });
        self
    }

    /// The load just named lasts so long; the process stays.
    ///
    /// # Panics
    /// No load was named.
    pub fn lasting_s(mut self, seconds: f64) -> Self {
        let to_ns = self.at_ns + ns(seconds);
        let load = self.me().loads.last_mut().expect("a load was named before");
        load.to_ns = to_ns;
        self
    }

    /// So long, then it exits with 0.
    pub fn for_s(self, seconds: f64) -> Self {
        self.after_s(seconds).exits(0)
    }

    /// It exits with this wait status (a signal's number, or the exit code times 256).
    pub fn exits(mut self, wait_status: u32) -> Self {
        let at_ns = self.at_ns;
        self.me().end = Some((at_ns, wait_status));
        self
    }

    /// It connects, is answered at once, and holds the connection until its end.
    pub fn connects(self, ip: [u8; 4], port: u16) -> Self {
        self.contact(ip, port, true, false)
    }

    /// It connects and talks to a mining pool until its end.
    pub fn mines(self, ip: [u8; 4], port: u16) -> Self {
        self.contact(ip, port, true, true)
    }

    /// It connects and nobody answers.
    pub fn knocks(self, ip: [u8; 4], port: u16) -> Self {
        self.contact(ip, port, false, false)
    }

    fn contact(mut self, ip: [u8; 4], port: u16, answers: bool, mines: bool) -> Self {
        let at_ns = self.at_ns;
        self.me().contacts.push(Contact {
            at_ns,
            ip,
            port,
            answers,
            mines,
        });
        self
    }

    /// It listens on a port, and gets so many connections a second.
    pub fn listens(mut self, port: u16, per_second: f64) -> Self {
        let at_ns = self.at_ns;
        self.me().listens = Some(Listens {
            at_ns,
            port,
            visits: vec![(at_ns, u64::MAX, per_second)],
        });
        self
    }

    /// So many more connections a second, for so long.
    ///
    /// # Panics
    /// It does not listen.
    pub fn is_visited(mut self, per_second: f64, for_s: f64) -> Self {
        let span = (self.at_ns, self.at_ns + ns(for_s), per_second);
        let listens = self.me().listens.as_mut().expect("it listens");
        listens.visits.push(span);
        self
    }
}
