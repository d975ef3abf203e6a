//! What a busy second is worth: the constants of one kind of test.

/// Constants of one kind of test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Model {
    /// Part of the identity, so that habits of one kind say nothing about another.
    pub name: &'static str,
    /// Share of busy seconds under the fault.
    pub q: f64,
    /// Assumed share of busy seconds after a busy one, of whoever has no history.
    pub p_busy: f64,
    /// The same after an idle one.
    pub p_idle: f64,
    /// No condition is held for less probable than this: a second says at most `ln(q / p_min)`.
    pub p_min: f64,
    /// Nor for more probable, before it was seen on [`CONFIRMED_DAYS`]: a second says at least `ln(q / p_max)`.
    pub p_max: f64,
    /// Nor after that. Above `q`: a confirmed habit never adds up.
    pub p_confirmed: f64,
}

/// Days on which a condition must have been seen until it is a habit.
pub const CONFIRMED_DAYS: u8 = 3;

/// One culprit keeps the CPUs busy. A host that is taken over is busy 19 seconds of 20. Without history: ten
/// busy seconds. Whatever a day or two taught: 120 s at most (`ln(0.95 / 0.8)` each).
pub const SATURATION: Model = Model {
    name: "saturation",
    q: 0.95,
    p_busy: 0.12,
    p_idle: 0.05,
    p_min: 0.05,
    p_max: 0.8,
    p_confirmed: 0.97,
};

/// A load that does not vary. Ordinary programs have four steady seconds of five at most, as far as seen;
/// a throttle has 49 of 50. 101 steady seconds in a row without history, 200 s whatever a day or two taught.
pub const STEADY: Model = Model {
    name: "steady",
    q: 0.98,
    p_busy: 0.8,
    p_idle: 0.8,
    p_min: 0.8,
    p_max: 0.885,
    p_confirmed: 0.99,
};

/// The hypervisor gives our time to others. As saturation, but nobody on this host can hurry: 20 s.
pub const STEAL: Model = Model {
    name: "steal",
    q: 0.95,
    p_busy: 0.35,
    p_idle: 0.05,
    p_min: 0.05,
    p_max: 0.8,
    p_confirmed: 0.97,
};

/// Many short-lived processes. A build does it for a few seconds at a time: 15 s without history.
pub const STORM: Model = Model {
    name: "storm",
    q: 0.95,
    p_busy: 0.25,
    p_idle: 0.05,
    p_min: 0.05,
    p_max: 0.8,
    p_confirmed: 0.97,
};
