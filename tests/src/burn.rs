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
/// Ticks watched before the dodging begins.
const TICKS_WATCHED: usize = 8;

/// How a thread burns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Share of one CPU in percent, 0 to 100.
    pub duty_percent: u8,
    /// Sleep across every scheduler tick, so that accounting by tick (`utime`, `stime`) sees almost nothing.
    pub dodge_ticks: bool,
}

/// Burns like `load` says on the calling thread until `until`.
pub fn run(load: Load, until: Instant) {
    match load {
        Load {
            duty_percent: 0, ..
        } => std::thread::sleep(until.saturating_duration_since(Instant::now())),
        Load {
            dodge_ticks: true,
            duty_percent,
        } => between_ticks(duty_percent, until),
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

/// Burns at most 80 % of each tick period, asleep from 15 % before the tick to 5 % after it.
///
/// Ticks of all CPUs lie on one grid of the monotonic clock (without the `skew_tick` boot option). The coarse
/// clock moves in the tick, so watching it move while busy gives the grid's phase.
fn between_ticks(duty_percent: u8, until: Instant) {
    let tick_ns = nanoseconds(clock_getres(ClockId::MonotonicCoarse)).max(1);
    let phase_ns = watch_ticks(tick_ns, until);
    let burn_ns = (tick_ns * i128::from(duty_percent) / 100).min(tick_ns * 80 / 100);
    while Instant::now() < until {
        let now_ns = nanoseconds(clock_gettime(ClockId::Monotonic));
        let since_tick_ns = (now_ns - phase_ns).rem_euclid(tick_ns);
        let next_tick_ns = now_ns - since_tick_ns + tick_ns;
        let stop_ns = (now_ns + burn_ns).min(next_tick_ns - tick_ns * 15 / 100);
        while nanoseconds(clock_gettime(ClockId::Monotonic)) < stop_ns {
            spin();
        }
        let wake_ns = next_tick_ns + tick_ns * 5 / 100;
        // An early return (EINTR) only makes one burst longer.
        let _woken = rustix::thread::clock_nanosleep_absolute(
            rustix::thread::ClockId::Monotonic,
            &timespec(wake_ns),
        );
    }
}

/// The median phase of the tick grid, from ticks that found this thread busy.
fn watch_ticks(tick_ns: i128, until: Instant) -> i128 {
    let coarse = || nanoseconds(clock_gettime(ClockId::MonotonicCoarse));
    let mut ticks = Vec::with_capacity(TICKS_WATCHED);
    let mut last = coarse();
    while ticks.len() < TICKS_WATCHED && Instant::now() < until {
        spin();
        let seen = coarse();
        if seen != last {
            ticks.push(seen);
            last = seen;
        }
    }
    // Relative to the first, so that phases next to the period's edge do not tear the median apart.
    let origin = ticks.first().copied().unwrap_or(last);
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

    /// What the scheduler says this thread ran, in nanoseconds: another door to the same books.
    fn scheduler_runtime() -> Option<Duration> {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        text.split_whitespace()
            .next()?
            .parse()
            .ok()
            .map(Duration::from_nanos)
    }

    /// User and system time as accounted by the tick, in clock ticks.
    fn ticked_time() -> Duration {
        let text = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let fields: Vec<&str> = text
            .rsplit_once(')')
            .unwrap()
            .1
            .split_whitespace()
            .collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_secs(ticks) / u32::try_from(rustix::param::clock_ticks_per_second()).unwrap()
    }

    fn share_of_wall_time(load: Load, wall: Duration) -> Option<(f64, f64)> {
        std::thread::spawn(move || {
            let (before, ticked, begun) = (scheduler_runtime()?, ticked_time(), Instant::now());
            run(load, begun + wall);
            let wall = begun.elapsed().as_secs_f64();
            Some((
                (scheduler_runtime()? - before).as_secs_f64() / wall,
                (ticked_time() - ticked).as_secs_f64() / wall,
            ))
        })
        .join()
        .unwrap()
    }

    #[test]
    fn duty_of_the_stand_in_matches_its_cpu_time() {
        for duty_percent in [0, 10, 30, 60] {
            let load = Load {
                duty_percent,
                dodge_ticks: false,
            };
            let Some((share, _)) = share_of_wall_time(load, Duration::from_secs(1)) else {
                println!("skipped: /proc/thread-self/schedstat is absent (CONFIG_SCHED_INFO)");
                return;
            };
            let wanted = f64::from(duty_percent) / 100.0;
            println!("duty {wanted:.2}: scheduler says {share:.4}");
            // A machine that has nothing left to give may lag behind; nothing may exceed the duty.
            assert!(share <= wanted + 0.03, "duty {wanted}: used {share}");
            assert!(share >= wanted - 0.10, "duty {wanted}: used {share}");
        }
    }

    #[test]
    fn dodging_ticks_uses_more_than_the_tick_accounts() {
        let load = Load {
            duty_percent: 100,
            dodge_ticks: true,
        };
        let Some((share, ticked)) = share_of_wall_time(load, Duration::from_secs(2)) else {
            println!("skipped: /proc/thread-self/schedstat is absent (CONFIG_SCHED_INFO)");
            return;
        };
        println!("dodging: scheduler says {share:.3}, ticks say {ticked:.3}");
        assert!(share < 0.9, "it never slept: {share}");
        assert!(
            share > 0.2,
            "it hardly burnt, or the machine is starved: {share}"
        );
    }
}
