//! Burns CPU time, exactly as much as asked and not a moment longer.
//!
//! Owns the accounting: what a thread used is read from its own CPU clock (`CLOCK_THREAD_CPUTIME_ID`, which the
//! scheduler keeps exactly), never guessed from elapsed time, so a duty of 30 % is 30 % also on a busy
//! machine. The work is meaningless arithmetic. It refuses to run without an end.

use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// How often a duty below 100 % alternates between burning and sleeping.
const PERIOD: Duration = Duration::from_millis(20);
/// CPU time owed beyond this is forgiven: after a starved second the load returns to its duty instead of catching up flat out.
const MAX_DEBT: Duration = Duration::from_millis(500);
/// How often a ramp becomes steeper.
const RAMP_STEP: Duration = Duration::from_millis(250);
/// Ticks watched before the dodging begins.
const TICKS_WATCHED: usize = 8;

/// How a thread burns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Share of one CPU in percent, 0 to 100.
    pub duty_percent: u8,
    /// Sleep across every scheduler tick, so that accounting by tick (`utime`, `stime`) sees almost nothing.
    pub dodge_ticks: bool,
    /// Time in which the duty grows from nothing to its full height; zero: at once.
    pub ramp: Duration,
}

/// Burns like `load` says on the calling thread until `until`.
pub fn run(load: Load, until: Instant) {
    let begun = Instant::now();
    while load.ramp > begun.elapsed() && Instant::now() < until {
        let height = begun.elapsed().as_secs_f64() / load.ramp.as_secs_f64();
        let duty = (f64::from(load.duty_percent) * height) as u8;
        with_duty(duty.max(1), until.min(Instant::now() + RAMP_STEP));
    }
    match load {
        Load {
            duty_percent: 0, ..
        } => std::thread::sleep(until.saturating_duration_since(Instant::now())),
        Load {
            dodge_ticks: true,
            duty_percent,
            ..
        } => {
            between_ticks(duty_percent, until);
        }
        Load {
            duty_percent: 100..,
            ..
        } => flat_out(until),
        Load { duty_percent, .. } => with_duty(duty_percent, until),
    }
}

/// Burns without a pause until `until`. Async-signal-safe: arithmetic and `clock_gettime` only.
pub fn flat_out(until: Instant) {
    while Instant::now() < until {
        spin();
    }
}

/// CPU time the calling thread has used since it began.
#[must_use]
pub fn thread_cpu_time() -> Duration {
    duration(clock_gettime(ClockId::ThreadCPUTime))
}

fn with_duty(percent: u8, until: Instant) {
    let mut begun = Instant::now();
    let mut used_before = thread_cpu_time();
    loop {
        let now = Instant::now();
        if now >= until {
            return;
        }
        let elapsed = now - begun;
        let used = thread_cpu_time().saturating_sub(used_before);
        // The period that runs now may be burnt for its whole share at its beginning.
        let period = u32::try_from(elapsed.as_nanos() / PERIOD.as_nanos()).unwrap_or(u32::MAX - 1);
        let boundary = PERIOD * (period + 1);
        let allowed = boundary * u32::from(percent) / 100;
        if used >= allowed {
            std::thread::sleep((boundary - elapsed).min(until - now));
        } else if allowed - used > MAX_DEBT + PERIOD {
            begun = now;
            used_before = thread_cpu_time();
        } else {
            spin();
        }
    }
}

/// How well the dodging went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Dodged {
    bursts: u32,
    /// Bursts during which a tick came all the same, for instance after a preemption.
    struck: u32,
}

/// Burns at most 80 % of each tick period, asleep from 15 % before the tick to 5 % after it.
///
/// Ticks of all CPUs lie on one grid of the monotonic clock (without the `skew_tick` boot option). The coarse
/// clock moves in the tick, so the moment at which it moves, seen while busy, gives the grid's phase. (Its value does
/// not: that is a whole number of intervals of the clock source, wherever the tick lies.)
fn between_ticks(duty_percent: u8, until: Instant) -> Dodged {
    let tick_ns = nanoseconds(clock_getres(ClockId::MonotonicCoarse)).max(1);
    let phase_ns = watch_ticks(tick_ns, until);
    let burn_ns = (tick_ns * i128::from(duty_percent) / 100).min(tick_ns * 80 / 100);
    let mut dodged = Dodged::default();
    while Instant::now() < until {
        let now_ns = monotonic_ns();
        let since_tick_ns = (now_ns - phase_ns).rem_euclid(tick_ns);
        let next_tick_ns = now_ns - since_tick_ns + tick_ns;
        let stop_ns = (now_ns + burn_ns).min(next_tick_ns - tick_ns * 15 / 100);
        let ticked = coarse_ns();
        while monotonic_ns() < stop_ns {
            spin();
        }
        dodged.bursts += 1;
        dodged.struck += u32::from(coarse_ns() != ticked);
        let wake_ns = next_tick_ns + tick_ns * 5 / 100;
        // An early return (EINTR) only makes one burst longer.
        let _woken = rustix::thread::clock_nanosleep_absolute(
            rustix::thread::ClockId::Monotonic,
            &timespec(wake_ns),
        );
    }
    dodged
}

/// The median phase of the tick grid, from ticks that found this thread busy.
fn watch_ticks(tick_ns: i128, until: Instant) -> i128 {
    let mut ticks = Vec::with_capacity(TICKS_WATCHED);
    let mut last = coarse_ns();
    while ticks.len() < TICKS_WATCHED && Instant::now() < until {
        spin();
        let seen = coarse_ns();
        if seen != last {
            ticks.push(monotonic_ns());
            last = seen;
        }
    }
    // Relative to the first, so that phases next to the period's edge do not tear the median apart.
    let origin = ticks.first().copied().unwrap_or(0);
    let half = tick_ns / 2;
    let mut offsets: Vec<i128> = ticks
        .iter()
        .map(|tick| (tick - origin + half).rem_euclid(tick_ns) - half)
        .collect();
    offsets.sort_unstable();
    origin + offsets.get(offsets.len() / 2).copied().unwrap_or(0)
}

/// About 5 µs of arithmetic on a current core: short against a period, long against reading a clock.
fn spin() {
    let mut state = black_box(0x9e37_79b9_7f4a_7c15_u64);
    for _ in 0..2_000 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    black_box(state);
}

fn monotonic_ns() -> i128 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

fn coarse_ns() -> i128 {
    nanoseconds(clock_gettime(ClockId::MonotonicCoarse))
}

fn nanoseconds(time: Timespec) -> i128 {
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

fn timespec(ns: i128) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(ns / 1_000_000_000).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(ns % 1_000_000_000).unwrap_or(0),
    }
}

fn duration(time: Timespec) -> Duration {
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shares of wall time, from the scheduler's books: another door to them than the clock used above.
    #[derive(Debug)]
    struct Shares {
        running: f64,
        waiting: f64,
    }

    /// Runs `work` on a thread of its own; `None` where the kernel keeps no such books (CONFIG_SCHED_INFO).
    fn shares(work: impl FnOnce() + Send + 'static) -> Option<Shares> {
        let books = || -> Option<[Duration; 2]> {
            let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
            let mut fields = text.split_whitespace().map(str::parse);
            let mut field = || Some(Duration::from_nanos(fields.next()?.ok()?));
            Some([field()?, field()?])
        };
        let measured = std::thread::spawn(move || {
            let ([ran, waited], begun) = (books()?, Instant::now());
            work();
            let wall = begun.elapsed().as_secs_f64();
            let [ran_after, waited_after] = books()?;
            Some(Shares {
                running: (ran_after - ran).as_secs_f64() / wall,
                waiting: (waited_after - waited).as_secs_f64() / wall,
            })
        })
        .join()
        .unwrap();
        if measured.is_none() {
            crate::skip::skipped("no /proc/thread-self/schedstat");
        }
        measured
    }

    #[test]
    fn duty_of_the_stand_in_matches_its_cpu_time() {
        for duty_percent in [0, 10, 30, 60] {
            let load = Load {
                duty_percent,
                dodge_ticks: false,
                ramp: Duration::ZERO,
            };
            let work = move || run(load, Instant::now() + Duration::from_secs(1));
            let Some(shares) = shares(work) else { return };
            println!("duty {duty_percent} %: {shares:.4?}");
            let wanted = f64::from(duty_percent) / 100.0;
            assert!(
                shares.running <= wanted + 0.03,
                "more than asked: {shares:?}"
            );
            // On a busy machine it may lack CPU time, but only while it waits for a CPU.
            let had_or_waited = shares.running + shares.waiting;
            assert!(
                had_or_waited >= wanted - 0.03,
                "less than asked: {shares:?}"
            );
        }
    }

    #[test]
    fn a_ramp_to_full_height_burns_half_of_the_time() {
        let load = Load {
            duty_percent: 100,
            dodge_ticks: false,
            ramp: Duration::from_secs(3),
        };
        let work = move || run(load, Instant::now() + Duration::from_secs(3));
        let Some(shares) = shares(work) else { return };
        println!("{shares:.4?}");
        assert!(shares.running <= 0.6, "steeper than asked: {shares:?}");
        let had_or_waited = shares.running + shares.waiting;
        assert!(had_or_waited >= 0.35, "flatter than asked: {shares:?}");
    }

    #[test]
    fn a_dodging_load_burns_most_of_the_time_and_few_ticks_strike_it() {
        let (send, receive) = std::sync::mpsc::channel();
        let work = move || {
            let dodged = between_ticks(100, Instant::now() + Duration::from_secs(2));
            send.send(dodged).unwrap();
        };
        let Some(shares) = shares(work) else { return };
        let dodged = receive.recv().unwrap();
        println!("{dodged:?}, {shares:.4?}");
        assert!(shares.running < 0.9, "it never slept: {shares:?}");
        if shares.waiting > 0.02 {
            crate::skip::skipped(
                "others want this CPU, so where the bursts lie is not up to the load",
            );
            return;
        }
        assert!(shares.running > 0.4, "it hardly burnt: {shares:?}");
        assert!(
            dodged.struck * 5 < dodged.bursts,
            "ticks strike it: {dodged:?}"
        );
    }
}
