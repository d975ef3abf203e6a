//! Facts → what to load. Pure: the same facts always give the same plan.
#![deny(clippy::disallowed_methods)]

use super::{
    offsets::Found,
    probe::Probe,
    support::{Facts, capability},
};

/// What to do with each probe.
#[derive(Debug)]
pub struct Plan {
    /// A decision per probe, in load order.
    pub probes: Vec<(Probe, Decision)>,
    /// Whether a flooding cgroup is kept from pushing out the records of others: the kernel tells cgroups apart.
    pub throttle: bool,
    /// What works less well than it could, and why: one sentence each.
    pub degraded: Vec<String>,
}

/// Load it, or why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Load and attach.
    Load,
    /// The kernel cannot, and why.
    Skip(String),
}

impl Plan {
    /// Essential probes that will not be loaded, with the reason.
    pub fn skipped_essentials(&self) -> Vec<(Probe, String)> {
        let skipped = |(probe, decision): &(Probe, Decision)| match decision {
            Decision::Skip(why) if probe.is_essential() => Some((*probe, why.clone())),
            _ => None,
        };
        self.probes.iter().filter_map(skipped).collect()
    }

    /// Decides.
    pub fn new(facts: &Facts) -> Self {
        let decide = |probe: Probe| match &facts.types {
            Err(reason) => Decision::Skip(format!("no kernel type information: {reason}")),
            Ok(_) if !facts.can(capability::BPF) => Decision::Skip("needs CAP_BPF".into()),
            Ok(_) if !facts.can(capability::PERFMON) => Decision::Skip("needs CAP_PERFMON".into()),
            Ok(_) if too_little_locked_memory(facts) => Decision::Skip(format!(
                "this kernel counts maps as locked memory, and {} KiB of the {} KiB needed may be locked: \
                 raise RLIMIT_MEMLOCK (LimitMEMLOCK=infinity)",
                facts.locked_memory_bytes.unwrap_or_default() >> 10,
                LOCKED_MEMORY_NEEDED_BYTES >> 10
            )),
            Ok(_) if probe == Probe::Payload && facts.cgroup_v2.is_none() => {
                Decision::Skip("needs a mounted cgroup v2 hierarchy".into())
            }
            Ok(_) if probe == Probe::Payload && !facts.can(capability::NET_ADMIN) => {
                Decision::Skip("needs CAP_NET_ADMIN".into())
            }
            Ok(types) if !types.hooks.contains(&probe) => {
                Decision::Skip(format!("this kernel has no {:?}", probe.hook()))
            }
            Ok(types) => match types.found.missing(probe.offsets()) {
                missing if missing.is_empty() => Decision::Load,
                missing => Decision::Skip(format!("this kernel has no {}", missing.join(", "))),
            },
        };
        Plan {
            throttle: tells_cgroups_apart(facts),
            probes: Probe::ALL.map(|probe| (probe, decide(probe))).to_vec(),
            degraded: degraded(facts),
        }
    }
}

/// Rings (5 MiB), tables (5 MiB) and programs with the defaults.
const LOCKED_MEMORY_NEEDED_BYTES: u64 = 12 << 20;

/// Whoever has the capability raises the limit.
fn too_little_locked_memory(facts: &Facts) -> bool {
    let limit = facts.locked_memory_bytes;
    limit.is_some_and(|bytes| bytes < LOCKED_MEMORY_NEEDED_BYTES)
        && !facts.can(capability::SYS_RESOURCE)
}

/// Members that lead from a task to its cgroup's id.
const CGROUP_OF_A_TASK: [&str; 4] = [
    "task_cgroups",
    "css_set_dfl_cgrp",
    "cgroup_kn",
    "kernfs_node_id",
];

fn tells_cgroups_apart(facts: &Facts) -> bool {
    let known = |found: &Found| {
        let mut absent = found.absent.iter();
        !absent.any(|spec| CGROUP_OF_A_TASK.contains(&spec.field))
    };
    facts.cgroup_v2.is_some() && facts.types.as_ref().is_ok_and(|types| known(&types.found))
}

fn degraded(facts: &Facts) -> Vec<String> {
    let mut degraded = Vec::new();
    if let Ok(types) = &facts.types {
        for spec in &types.found.absent {
            // Superseded by a member of another name.
            if matches!(spec.field, "inode_ctime_nsec32" | "inode_ctime_nsec64") {
                continue;
            }
            degraded.push(format!(
                "{}.{} is not in this kernel: that field stays empty",
                spec.structure, spec.paths[0]
            ));
        }
    }
    let mut lacks = |lacking: bool, what: &str| {
        if lacking {
            degraded.push(what.to_owned());
        }
    };
    lacks(
        !facts.can(capability::SYS_PTRACE),
        "no CAP_SYS_PTRACE: other users' processes cannot be named or hashed",
    );
    lacks(
        !facts.can(capability::DAC_READ_SEARCH),
        "no CAP_DAC_READ_SEARCH: unreadable binaries cannot be hashed",
    );
    lacks(
        facts.cgroup_v2.is_none(),
        "no cgroup v2: CPU time is not summed per unit or container",
    );
    lacks(
        !tells_cgroups_apart(facts),
        "cgroups are not told apart: a flood of records can push out those of others",
    );
    lacks(
        !facts.pressure,
        "no /proc/pressure/cpu: CPU pressure is not reported",
    );
    lacks(
        facts.package_database.is_none(),
        "no package database: no file counts as owned or unowned",
    );
    lacks(
        facts.package_database == Some("rpm"),
        "rpm's database is not read yet: no file counts as owned or unowned",
    );
    degraded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::support::Types;
    use detector_common::offsets::Offsets;

    fn facts() -> Facts {
        Facts {
            kernel_release: "6.1.0".into(),
            types: Ok(Types {
                found: Found {
                    offsets: Offsets::NONE,
                    absent: Vec::new(),
                },
                hooks: Probe::ALL.to_vec(),
            }),
            capabilities: u64::MAX,
            locked_memory_bytes: None,
            cgroup_v2: Some("/sys/fs/cgroup".into()),
            pressure: true,
            lockdown: None,
            package_database: Some("dpkg"),
        }
    }

    fn decision(facts: &Facts, probe: Probe) -> Decision {
        let plan = Plan::new(facts);
        let (_, decision) = plan
            .probes
            .into_iter()
            .find(|(p, _)| *p == probe)
            .expect("the plan covers every probe");
        decision
    }

    #[test]
    fn a_full_kernel_loads_everything_and_lacks_nothing() {
        let plan = Plan::new(&facts());
        assert!(plan.probes.iter().all(|(_, d)| *d == Decision::Load));
        assert_eq!(plan.degraded, Vec::<String>::new());
    }

    #[test]
    fn a_missing_essential_member_skips_just_the_probes_that_read_it() {
        let mut facts = facts();
        if let Ok(types) = &mut facts.types {
            types.found.absent = Offsets::SPECS
                .iter()
                .filter(|spec| spec.field == "sk_daddr")
                .collect();
        }
        assert_eq!(
            decision(&facts, Probe::Connection),
            Decision::Skip("this kernel has no sock.__sk_common.skc_daddr".into())
        );
        assert_eq!(decision(&facts, Probe::Exec), Decision::Load);
    }

    #[test]
    fn looking_into_packets_needs_a_capability_and_a_hierarchy_of_its_own() {
        let mut without = facts();
        without.capabilities = !(1 << capability::NET_ADMIN);
        assert_eq!(
            decision(&without, Probe::Payload),
            Decision::Skip("needs CAP_NET_ADMIN".into())
        );
        assert_eq!(decision(&without, Probe::Connection), Decision::Load);
        let mut without = facts();
        without.cgroup_v2 = None;
        assert_eq!(
            decision(&without, Probe::Payload),
            Decision::Skip("needs a mounted cgroup v2 hierarchy".into())
        );
    }

    #[test]
    fn a_flood_is_throttled_only_where_cgroups_can_be_told_apart_and_that_is_said() {
        let said = |facts: &Facts| {
            let plan = Plan::new(facts);
            let said = plan
                .degraded
                .iter()
                .any(|line| line.starts_with("cgroups are not told apart"));
            (plan.throttle, said)
        };
        assert_eq!(said(&facts()), (true, false));
        let mut without = facts();
        without.cgroup_v2 = None;
        assert_eq!(said(&without), (false, true));
        for field in CGROUP_OF_A_TASK {
            let mut without = facts();
            if let Ok(types) = &mut without.types {
                let specs = Offsets::SPECS.iter();
                types.found.absent = specs.filter(|spec| spec.field == field).collect();
                assert_eq!(types.found.absent.len(), 1, "{field}");
            }
            assert_eq!(said(&without), (false, true), "{field}");
        }
    }

    #[test]
    fn too_little_locked_memory_is_named_with_its_remedy_unless_it_can_be_raised() {
        let mut facts = facts();
        facts.locked_memory_bytes = Some(8 << 20);
        assert_eq!(decision(&facts, Probe::Exec), Decision::Load);
        facts.capabilities = !(1 << capability::SYS_RESOURCE);
        assert_eq!(
            decision(&facts, Probe::Exec),
            Decision::Skip(
                "this kernel counts maps as locked memory, and 8192 KiB of the 12288 KiB needed may be locked: \
                 raise RLIMIT_MEMLOCK (LimitMEMLOCK=infinity)"
                    .into()
            )
        );
        facts.locked_memory_bytes = Some(u64::MAX);
        assert_eq!(decision(&facts, Probe::Exec), Decision::Load);
    }

    #[test]
    fn without_cap_bpf_every_probe_names_it() {
        let mut facts = facts();
        facts.capabilities = 0;
        assert!(
            Plan::new(&facts)
                .probes
                .iter()
                .all(|(_, d)| *d == Decision::Skip("needs CAP_BPF".into()))
        );
    }
}
