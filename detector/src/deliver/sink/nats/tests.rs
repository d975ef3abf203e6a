use super::*;

#[test]
fn subject_is_host_and_type_with_nothing_that_would_split_or_match() {
    assert_eq!(
        subject(
            "detector.events",
            "urn:detector:host:ab-1",
            "detector.incident.opened"
        ),
        "detector.events.ab-1.incident.opened"
    );
    assert_eq!(
        subject("d", "urn:detector:host:a.b c*>é", "detector.heartbeat"),
        "d.a_b_c___.heartbeat"
    );
}
