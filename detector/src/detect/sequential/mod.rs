//! When is a run of busy seconds more than chance? Sequential tests with a stated false-alarm budget.
//!
//! Once a second each judged scope is *busy* or not, in the sense of its [`Model`]. A CUSUM adds up
//! `ln(q / p)` for a busy second and `ln((1 − q) / (1 − p))` for an idle one, never falls below zero, and
//! alarms at `ln γ` ([`budget`]). `q` is how busy the fault is; `p` is how probable a busy second was, *given
//! how long the scope has been busy or idle by now* ([`state`]), whose it is and which hour of the week it is
//! ([`baseline`]). So autocorrelation is not corrected for but conditioned on: a program that likes to go
//! on for a minute has a `p` near one for a minute, and one whose bursts end after five seconds has a small
//! `p` from the sixth.
//!
//! **The guarantee.** As long as no `p` is below the true conditional probability, the exponential of the sum
//! is a supermartingale, whatever the dependence, and the mean time between false alarms is at least `γ`.
//! `p` is therefore an upper confidence bound, and bounded below ([`Model::p_min`]) so that no single second
//! can say more than `ln(q / p_min)`: that is the clipping of heavy tails.
//!
//! **The delay.** An identity without history alarms after ten busy seconds in a row
//! (one step of ln 19, then nine of ln(0.95 / 0.12)); any identity within 120 s ([`Model::p_max`]) of twice
//! the length it was seen to last on three days.
//!
//! **Learning.** What is seen today counts from the day after tomorrow: nothing can be trained within hours, but by
//! an established program (of a package, or a file that is a week old), for two days after it was first seen. A busy run teaches when it has ended without an
//! alarm. An episode that ended by itself and accuses nobody counts as one observation, at most one a day; a habit
//! needs three of those, that is three alarms somebody could see, and excuses twice its length. An age that was never
//! reached is as likely to go on as the one before it.
//!
//! Bounded: 256 baselines, the one unused longest goes first and is counted.

pub mod bank;
pub mod baseline;
pub mod budget;
pub mod identity;
pub mod model;
pub mod state;
pub mod stored;
pub mod test;

pub use bank::Bank;
pub use budget::{lorden_s, threshold};
pub use identity::Identity;
pub use model::Model;
pub use test::{Change, Test};
