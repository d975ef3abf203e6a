//! Type information (`kernel/btf.rs`), and the offsets read from it.

use detector_common::offsets::{ABSENT, Offsets};

use crate::kernel::{btf::Btf, offsets::Found};

/// What is found lies behind what it lies in, and is found again.
///
/// # Panics
/// A promise is broken.
pub fn btf(bytes: &[u8]) {
    let Ok(btf) = Btf::parse(bytes.to_vec()) else {
        return;
    };
    let found = Found::read(&btf);
    assert!(found.absent.len() <= Offsets::SPECS.len());
    for spec in Offsets::SPECS {
        let is_absent = found.absent.iter().any(|absent| absent.field == spec.field);
        let first = spec.paths.iter().find_map(|path| {
            let whole = btf.member(spec.structure, path)?;
            if let Some((outer, _)) = path.rsplit_once('.') {
                let outer = btf.member(spec.structure, outer);
                let outer = outer.expect("what a found member lies in is found");
                assert!(outer.offset <= whole.offset, "{path}");
            }
            Some(whole.offset)
        });
        assert_eq!(first.is_none(), is_absent, "{}", spec.field);
        assert!(first.is_none_or(|offset| offset != ABSENT));
    }
    let _ = btf.has_typedef("btf_trace_sched_process_exec");
    // The corpus has this one, whatever kernel it is tested on.
    let _ = (btf.member("s", "c"), btf.member("s", ""));
}
