//! The evidence of `agent.event_loss`: how many of each class, and which cgroups flooded.

use serde_json::{Map, Value};

use super::text;
use crate::{
    incident::LossEvidence,
    input::{Loss, Throttled},
};

/// An object: a count by class, and `cgroups` where records were kept out of a filling ring.
pub(super) fn evidence(loss: &LossEvidence) -> Value {
    let mut fields = counts(&loss.losses);
    if !loss.throttled.is_empty() {
        let cgroups = loss.throttled.iter().map(throttled).collect();
        fields.insert("cgroups".to_owned(), Value::Array(cgroups));
    }
    Value::Object(fields)
}

fn counts(losses: &[Loss]) -> Map<String, Value> {
    let counts = losses.iter();
    counts
        .map(|loss| (loss.class.to_owned(), Value::from(loss.count)))
        .collect()
}

fn throttled(cgroup: &Throttled) -> Value {
    let mut fields = counts(&cgroup.losses);
    let name = cgroup.cgroup.as_deref().map(text::line);
    fields.insert("cgroup".to_owned(), Value::from(name));
    fields.insert("cgroup_id".to_owned(), Value::from(cgroup.cgroup_id));
    let unbilled_ms = cgroup.unbilled_ns / 1_000_000;
    fields.insert("unbilled_ms".to_owned(), Value::from(unbilled_ms));
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn loss(class: &'static str, count: u64) -> Loss {
        Loss { class, count }
    }

    #[test]
    fn who_flooded_is_named_beside_what_was_lost_and_its_name_cannot_break_a_line() {
        let told = evidence(&LossEvidence {
            losses: vec![loss("exec_throttled", 3), loss("exec_dropped", 1)],
            throttled: vec![Throttled {
                cgroup_id: 9,
                cgroup: Some("/a\nb".to_owned()),
                losses: vec![loss("exec_throttled", 3)],
                unbilled_ns: 2_500_000,
            }],
        });
        assert_eq!(
            told,
            json!({
                "exec_dropped": 1,
                "exec_throttled": 3,
                "cgroups": [{"cgroup": "/a\\x0ab", "cgroup_id": 9, "exec_throttled": 3, "unbilled_ms": 2}],
            })
        );
        let without = evidence(&LossEvidence {
            losses: vec![loss("exec_dropped", 1)],
            throttled: Vec::new(),
        });
        assert_eq!(without, json!({"exec_dropped": 1}));
    }
}
