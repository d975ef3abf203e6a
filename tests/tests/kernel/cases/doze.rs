//! A reader whose timer sleeps is woken by the first record, and by that one only.

use std::{process::Command, time::Duration};

use crate::watch::{DEFAULT_SIZES, Turn, watch};

/// What a wake-up takes at most, even on a machine that is busy.
const SOON: Duration = Duration::from_secs(10);
/// How long it must not come.
const A_WHILE: Duration = Duration::from_millis(300);

fn records() {
    let status = Command::new("/bin/true").status();
    assert!(status.expect("it can be started").success());
}

#[test]
fn a_dozing_reader_is_woken_by_the_next_record_and_by_none_after_it() {
    let mut watch = watch!(DEFAULT_SIZES, Turn::alone());
    let sleeper = watch.sleeper();
    // What lay in the rings when it began to wait counts as a wake-up.
    sleeper.is_woken(Duration::ZERO);
    records();
    assert!(!sleeper.is_woken(A_WHILE), "it did not ask for it");
    watch.drain();
    watch.doze();
    records();
    assert!(sleeper.is_woken(SOON), "it asked for it");
    records();
    assert!(!sleeper.is_woken(A_WHILE), "it asked for one");
}
