//! Where inputs come from: rings ([`ring`]), the task iterator and host files ([`scan`]), driven by
//! timers ([`timer`]).
//! [`throttle`] knows whose records the kernel side kept out.
//! Everything left of [`decode`] is kernel bytes; everything right of it is [`crate::input`].

pub mod decode;
pub mod doze;
pub mod replay;
pub mod ring;
pub mod scan;
pub mod throttle;
pub mod timer;
