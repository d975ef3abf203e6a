//! Lineage that `/proc` has forgotten.

use crate::{
    actor::Actor,
    watch::{execs, forks, watch},
};

#[test]
fn an_orphan_is_still_known_by_who_forked_it() {
    let mut watch = watch!();
    let mut actor = Actor::start(["orphan"]);
    let shown = actor.says();
    let orphan = shown["pid"].as_u64().expect("it shows its pid") as u32;
    assert_ne!(
        shown["ppid"].as_u64(),
        Some(u64::from(actor.pid())),
        "the orphan was adopted by somebody else"
    );
    watch.exec(orphan, |_| true);
    // From the orphan upwards by fork records alone.
    let mut lineage = vec![orphan];
    while let Some(fork) =
        forks(&watch.records).find(|fork| fork.child.tgid == lineage[lineage.len() - 1])
    {
        lineage.push(fork.parent.tgid);
    }
    assert!(lineage.contains(&actor.pid()), "{lineage:?}");
    assert!(execs(&watch.records).any(|exec| exec.process.tgid == actor.pid()));
    actor.finish();
}
