//! The sinks against the real receivers, on loopback: Alertmanager, rsyslog, nats-server, nginx with client
//! certificates; and against a recorder that follows the documented rules of PagerDuty and OTLP to the letter and can
//! misbehave in every way a receiver does.
//!
//! No kernel is needed. A receiver that is not installed skips its tests by name; where `cargo xtask test` has
//! installed them (`DETECTOR_REQUIRE_RECEIVERS=1`), that is a failure.

mod again;
mod alertmanager;
mod credentials;
mod events;
mod fleet;
mod mtls;
mod nats;
mod program;
mod rules;
mod server;
mod syslog;
mod trouble;
mod watchdog;
