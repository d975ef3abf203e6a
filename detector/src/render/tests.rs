//! The block is plain unless colour is asked for, and wraps.

use super::layout::{clock, duration, wrap};

#[test]
fn lines_break_at_blanks_and_long_words_stay_whole() {
    assert_eq!(wrap("aa bb cc", 5), ["aa bb", "cc"]);
    assert_eq!(wrap("aaaaaaaaaa b", 5), ["aaaaaaaaaa", "b"]);
}

#[test]
fn times_read_as_times_of_day_and_durations() {
    assert_eq!(clock("2023-11-14T22:13:20.5Z"), "22:13:20");
    assert_eq!(clock("soon"), "soon");
    let between = duration("2023-11-14T22:13:20Z", "2023-11-14T22:15:25Z");
    assert_eq!(between.as_deref(), Some("2 min"));
}
