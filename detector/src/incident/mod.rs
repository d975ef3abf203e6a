//! Incidents: findings that belong together, with a life.

/// One signal.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {}

/// Findings that belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct Incident {}
