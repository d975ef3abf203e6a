//! What the kernel counts of a program.

use super::fdinfo;

/// Counts since a program was loaded. `None`: this kernel does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// Runs while statistics were on (`kernel.bpf_stats_enabled`).
    pub count: Option<u64>,
    /// How long those took, ns. The statistics themselves are 20–70 ns of each.
    pub time_ns: Option<u64>,
    /// Events not seen because the program was already running on that CPU (5.12 and later).
    pub missed: Option<u64>,
}

impl Runs {
    /// From what `fdinfo` says of a program.
    pub(super) fn parse(text: &str) -> Runs {
        Runs {
            count: fdinfo::number(text, "run_cnt"),
            time_ns: fdinfo::number(text, "run_time_ns"),
            missed: fdinfo::number(text, "recursion_misses"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_by_name_and_what_an_older_kernel_lacks_is_missing() {
        let text = "pos:\t0\nprog_id:\t17\nrun_time_ns:\t1900\nrun_cnt:\t3\nrecursion_misses:\t2\n";
        let all = Runs {
            count: Some(3),
            time_ns: Some(1_900),
            missed: Some(2),
        };
        assert_eq!(Runs::parse(text), all);
        let older = Runs {
            count: Some(0),
            ..Runs::default()
        };
        assert_eq!(Runs::parse("run_cnt:\t0\n"), older);
    }
}
