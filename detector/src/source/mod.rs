//! Where inputs come from: rings ([`ring`]), the task iterator and host files ([`scan`]), driven by
//! timers ([`timer`]).
//! Everything left of [`decode`] is kernel bytes; everything right of it is [`crate::input`].

pub mod decode;
pub mod doze;
pub mod replay;
pub mod ring;
pub mod scan;
pub mod timer;
