//! When the timer of the rings may sleep.
//!
//! A wake-up of the daemon costs about 0.1 ms on a small virtual machine, and twenty of them a second were three
//! quarters of what it cost on an idle host (2.5 of 3.2 ms a second). So after two ticks without a record the kernel side is
//! asked to wake the reader by the next one, and after one more tick the timer is stopped. That tick in between is for a
//! record whose writer had looked just before it was asked: it lies in the ring by then.
//!
//! Records that come at a steady pace, every 150 ms or so, are the worst case: four wake-ups each, a third more than the
//! timer's own. A missed wake-up would cost a second, until the next pass drains.

/// Empty ticks until the kernel side is asked.
const PATIENCE: u8 = 2;

/// What to do after a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    None,
    /// The next record is to wake the reader.
    AskToBeWoken,
    /// It will: no more ticks.
    StopTimer,
    /// Something came.
    StartTimer,
}

/// How far asleep the timer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doze {
    /// It ticks; so many ticks in a row found nothing.
    Awake(u8),
    /// The kernel side was asked; it still ticks.
    Falling,
    /// It does not tick.
    Asleep,
    /// It ticks for ever: the kernel side cannot be asked.
    Forbidden,
}

impl Default for Doze {
    fn default() -> Doze {
        Doze::Awake(0)
    }
}

impl Doze {
    /// The rings were drained by a tick and gave so many records.
    pub fn ticked(&mut self, records: usize) -> Step {
        if records > 0 {
            return self.drained(records);
        }
        match *self {
            Doze::Awake(empty) if empty + 1 < PATIENCE => {
                *self = Doze::Awake(empty + 1);
                Step::None
            }
            Doze::Awake(_) => {
                *self = Doze::Falling;
                Step::AskToBeWoken
            }
            Doze::Falling => {
                *self = Doze::Asleep;
                Step::StopTimer
            }
            Doze::Asleep | Doze::Forbidden => Step::None,
        }
    }

    /// The rings were drained for another reason and gave so many records.
    pub fn drained(&mut self, records: usize) -> Step {
        let step = match *self {
            Doze::Forbidden => return Step::None,
            _ if records == 0 => return Step::None,
            Doze::Asleep => Step::StartTimer,
            Doze::Awake(_) | Doze::Falling => Step::None,
        };
        *self = Doze::Awake(0);
        step
    }

    /// The kernel side cannot be asked.
    pub fn forbid(&mut self) {
        *self = Doze::Forbidden;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timer_stops_one_tick_after_the_kernel_side_was_asked_and_starts_with_a_record() {
        let mut doze = Doze::default();
        let steps: Vec<Step> = [5, 0, 0, 0, 0].map(|records| doze.ticked(records)).into();
        let asked = [
            Step::None,
            Step::None,
            Step::AskToBeWoken,
            Step::StopTimer,
            Step::None,
        ];
        assert_eq!(steps, asked);
        assert_eq!(doze.drained(0), Step::None, "a pass that finds nothing");
        assert_eq!(doze.drained(1), Step::StartTimer);
        assert_eq!(doze, Doze::Awake(0));
    }

    #[test]
    fn a_record_while_it_falls_asleep_keeps_it_awake() {
        let mut doze = Doze::default();
        for _ in 0..PATIENCE {
            doze.ticked(0);
        }
        assert_eq!(doze, Doze::Falling);
        assert_eq!(doze.ticked(1), Step::None);
        assert_eq!(doze, Doze::Awake(0));
    }

    #[test]
    fn without_the_kernel_side_it_ticks_for_ever() {
        let mut doze = Doze::default();
        doze.forbid();
        let steps = [0, 0, 0, 0, 7].map(|records| doze.ticked(records));
        assert_eq!(steps, [Step::None; 5]);
    }
}
