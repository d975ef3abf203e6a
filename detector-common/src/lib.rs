#![no_std]
//! What the kernel side and the daemon share.
