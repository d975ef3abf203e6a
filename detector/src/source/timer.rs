//! A periodic timer that costs one wake-up a period.
//!
//! A `timerfd`, because the event loop's own timers sit on wheels of several levels: a 50 ms interval
//! woke the idle daemon 54 times a second instead of 20, at 50 µs each on a small virtual machine.

use std::{io, os::fd::OwnedFd, time::Duration};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;

use super::ring;

/// Ticks.
#[derive(Debug)]
pub struct Timer {
    fd: AsyncFd<OwnedFd>,
    period: Duration,
}

impl Timer {
    /// Ticks every `period`, the first time after one.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn every(period: Duration) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let timer = Timer {
            fd: ring::readable(fd)?,
            period,
        };
        timer.start()?;
        Ok(timer)
    }

    /// Ticks again, the first time after one period.
    ///
    /// # Errors
    /// The timer is gone.
    pub fn start(&self) -> io::Result<()> {
        self.set(self.period)
    }

    /// No tick from now on.
    ///
    /// # Errors
    /// The timer is gone.
    pub fn stop(&self) -> io::Result<()> {
        self.set(Duration::ZERO)
    }

    fn set(&self, period: Duration) -> io::Result<()> {
        let period = Timespec::try_from(period).expect("periods are minutes at most");
        let times = Itimerspec {
            it_interval: period,
            it_value: period,
        };
        timerfd_settime(self.fd.get_ref(), TimerfdTimerFlags::empty(), &times)?;
        Ok(())
    }

    /// The next tick. Ticks that were missed meanwhile count as one.
    ///
    /// # Errors
    /// The timer cannot be polled.
    pub async fn tick(&self) -> io::Result<()> {
        let mut ready = self.fd.readable().await?;
        let mut expirations = [0; 8];
        match rustix::io::read(self.fd.get_ref(), &mut expirations) {
            Ok(_) => {}
            // Somebody was faster; the next edge comes with the next tick.
            Err(rustix::io::Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
        ready.clear_ready();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn ticks_come_one_after_the_other_and_missed_ones_as_one() {
        let period = Duration::from_millis(5);
        let timer = Timer::every(period).expect("a descriptor is left");
        let begun = std::time::Instant::now();
        for _ in 0..4 {
            timer.tick().await.expect("it can be polled");
        }
        assert!(begun.elapsed() >= 4 * period);
    }
}
