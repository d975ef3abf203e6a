//! A baseline as bytes, version 1: little-endian, hours that were not seen left out. A body of another
//! version, of the wrong length or with numbers that cannot be is refused as a whole; the identity then
//! begins anew.

use super::{
    baseline::{Baseline, Day, HOURS, Hour},
    state::CONDITIONS,
};

/// The version written. Read: this one only.
pub const VERSION: u32 = 1;
/// No count is larger: a year of seconds.
const MAX_COUNT: f32 = 31_536_000.0;

/// Writes.
pub fn encode(baseline: &Baseline) -> Vec<u8> {
    let mut body = Vec::with_capacity(2_048);
    body.extend(baseline.first_hour.to_le_bytes());
    body.extend(baseline.hour.to_le_bytes());
    for counts in [&baseline.seen, &baseline.busy] {
        counts
            .iter()
            .for_each(|count| body.extend(count.to_le_bytes()));
    }
    body.extend(baseline.days);
    hours(&mut body, &*baseline.hours, f32::to_le_bytes);
    for day in [&baseline.today, &baseline.yesterday] {
        for counts in [&day.seen, &day.busy] {
            counts
                .iter()
                .for_each(|count| body.extend(count.to_le_bytes()));
        }
        hours(&mut body, &day.hours, u32::to_le_bytes);
        body.push(u8::from(day.episode));
    }
    body
}

fn hours<T: Copy + Default + PartialEq>(
    body: &mut Vec<u8>,
    hours: &[Hour<T>],
    bytes: fn(T) -> [u8; 4],
) {
    let seen = || {
        let told = |(_, hour): &(usize, &Hour<T>)| **hour != Hour::default();
        hours.iter().enumerate().filter(told)
    };
    body.push(u8::try_from(seen().count()).expect("at most 168 hours"));
    for (at, hour) in seen() {
        body.push(u8::try_from(at).expect("at most 168 hours"));
        for count in hour.idle.into_iter().chain(hour.busy) {
            body.extend(bytes(count));
        }
    }
}

/// Reads; `None`: not what [`encode`] writes.
pub fn decode(version: u32, body: &[u8]) -> Option<Baseline> {
    if version != VERSION {
        return None;
    }
    let mut reader = Reader(body);
    let mut baseline = Baseline::new(reader.word()?);
    baseline.hour = reader.word()?;
    reader.counts(&mut baseline.seen, Reader::count)?;
    reader.counts(&mut baseline.busy, Reader::count)?;
    for days in &mut baseline.days {
        *days = reader.byte()?;
    }
    reader.hours::<f32, HOURS>(&mut baseline.hours, Reader::count)?;
    for day in [&mut baseline.today, &mut baseline.yesterday] {
        let Day {
            seen,
            busy,
            hours,
            episode,
        } = &mut **day;
        reader.counts(seen, Reader::word)?;
        reader.counts(busy, Reader::word)?;
        reader.hours::<u32, 24>(hours, Reader::word)?;
        *episode = match reader.byte()? {
            0 => false,
            1 => true,
            _ => return None,
        };
    }
    let possible = (0..CONDITIONS).all(|at| baseline.busy[at] <= baseline.seen[at]);
    (possible && reader.0.is_empty()).then_some(baseline)
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn word(&mut self) -> Option<u32> {
        let (first, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*first))
    }

    fn count(&mut self) -> Option<f32> {
        let count = f32::from_bits(self.word()?);
        (0.0..=MAX_COUNT).contains(&count).then_some(count)
    }

    fn counts<T, const N: usize>(
        &mut self,
        counts: &mut [T; N],
        read: impl Fn(&mut Self) -> Option<T>,
    ) -> Option<()> {
        for count in counts {
            *count = read(self)?;
        }
        Some(())
    }

    fn hours<T, const N: usize>(
        &mut self,
        hours: &mut [Hour<T>; N],
        read: impl Fn(&mut Self) -> Option<T>,
    ) -> Option<()> {
        for _ in 0..self.byte()? {
            let at = usize::from(self.byte()?);
            let hour = hours.get_mut(at)?;
            for counts in [&mut hour.idle, &mut hour.busy] {
                self.counts(counts, &read)?;
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::sequential::state::Run;

    fn some() -> Baseline {
        let mut baseline = Baseline::new(20_000 * 24);
        for day in 20_000..20_005 {
            let _ = baseline.turn(day * 24, false);
            for second in 0..100 {
                let run = Run {
                    busy: false,
                    age_s: second % 70,
                };
                baseline.learn_idle(run, second % 4 == 0, second as usize % 24);
                baseline.learn_run(1 + second % 9, second as usize % 24);
            }
            let _ = baseline.learn_episode(300, 4);
        }
        baseline
    }

    #[test]
    fn a_baseline_survives_being_stored() {
        let baseline = some();
        let body = encode(&baseline);
        assert_eq!(decode(VERSION, &body), Some(baseline));
        assert!(body.len() < 8_192, "{}", body.len());
    }

    #[test]
    fn any_other_bytes_are_refused_or_make_a_possible_baseline() {
        let body = encode(&some());
        assert_eq!(decode(VERSION + 1, &body), None);
        for cut in 0..body.len() {
            assert_eq!(decode(VERSION, &body[..cut]), None);
        }
        for at in 0..body.len() {
            let mut changed = body.clone();
            changed[at] ^= 0xff;
            if let Some(baseline) = decode(VERSION, &changed) {
                let table = baseline.table(&crate::detect::sequential::model::SATURATION, 7);
                assert!(
                    table.iter().all(|p| (0.05..=0.97).contains(p)),
                    "byte {at}: {table:?}"
                );
            }
        }
    }

    #[test]
    fn what_is_written_is_version_1_and_no_count_is_more_than_a_year() {
        let read = |seen: f32| {
            let mut baseline = some();
            baseline.seen[0] = seen;
            decode(1, &encode(&baseline)).map(|read| read.seen[0])
        };
        assert_eq!(read(31_536_000.0), Some(31_536_000.0));
        assert_eq!(read(31_536_002.0), None);
    }
}
