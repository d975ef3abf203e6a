//! Fills [`Offsets`] from BTF.

use detector_common::offsets::{ABSENT, Need, Offsets, Spec};

use super::btf::Btf;

/// Member offsets of the running kernel, and the members it does not have.
#[derive(Debug)]
pub struct Found {
    /// As the BPF object wants them.
    pub offsets: Offsets,
    /// Members without an offset.
    pub absent: Vec<&'static Spec>,
}

impl Found {
    /// Looks every member up.
    pub fn read(btf: &Btf) -> Self {
        let mut absent = Vec::new();
        let words = Offsets::SPECS.iter().map(|spec| {
            let mut paths = spec.paths.iter();
            let member = paths.find_map(|path| btf.member(spec.structure, path));
            member.map_or_else(
                || {
                    absent.push(spec);
                    ABSENT
                },
                |member| member.offset,
            )
        });
        let words: Vec<u32> = words.collect();
        let offsets = zerocopy::transmute!(
            <[u32; Offsets::SPECS.len()]>::try_from(words)
                .expect("one word was made for each member")
        );
        Found { offsets, absent }
    }

    /// Essential members whose field name starts with one of `prefixes` and that are absent.
    pub fn missing(&self, prefixes: &[&str]) -> Vec<String> {
        let concerns = |spec: &&&Spec| {
            spec.need == Need::Essential && prefixes.iter().any(|p| spec.field.starts_with(p))
        };
        let name = |spec: &&Spec| format!("{}.{}", spec.structure, spec.paths[0]);
        self.absent.iter().filter(concerns).map(name).collect()
    }
}
