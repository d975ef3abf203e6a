//! Families of samples, and how they are written.
#![deny(clippy::disallowed_methods)]

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text},
    metrics::MetricType,
    registry::Registry,
};

/// What is told at one moment.
#[derive(Debug, Default)]
pub struct Page(Vec<Family>);

/// Samples of one name.
#[derive(Debug)]
pub struct Family {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    labels: Vec<(&'static str, String)>,
    value: f64,
}

impl Page {
    /// The media type of [`Page::render`].
    pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

    /// What only grows; `_total` is appended to its name.
    pub fn counter(&mut self, name: &'static str, help: &'static str) -> &mut Family {
        self.family(name, help, MetricType::Counter)
    }

    /// What goes up and down.
    pub fn gauge(&mut self, name: &'static str, help: &'static str) -> &mut Family {
        self.family(name, help, MetricType::Gauge)
    }

    fn family(&mut self, name: &'static str, help: &'static str, kind: MetricType) -> &mut Family {
        self.0.push(Family {
            name,
            help,
            kind,
            samples: Vec::new(),
        });
        self.0.last_mut().expect("it was pushed")
    }

    /// The text. A family without samples is not in it: missing is not zero.
    pub fn render(self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        prometheus_text::encode(&mut text, &registry).expect("a string takes everything");
        text
    }
}

impl Family {
    /// The one sample of this name.
    pub fn is(&mut self, value: impl Into<Number>) {
        self.with([], value);
    }

    /// A sample told apart by labels.
    pub fn with<const N: usize>(
        &mut self,
        labels: [(&'static str, &str); N],
        value: impl Into<Number>,
    ) -> &mut Self {
        self.samples.push(Sample {
            labels: labels.map(|(key, value)| (key, value.to_owned())).into(),
            value: value.into().0,
        });
        self
    }

    fn encode(&self, page: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = page.encode_descriptor(self.name, self.help, None, self.kind)?;
        for sample in &self.samples {
            // The empty set of labels is another type.
            match sample.labels.as_slice() {
                [] => write(&mut family, self.kind, sample.value)?,
                labels => write(&mut family.encode_family(&labels)?, self.kind, sample.value)?,
            }
        }
        Ok(())
    }
}

fn write(to: &mut MetricEncoder<'_>, kind: MetricType, value: f64) -> fmt::Result {
    match kind {
        MetricType::Counter => to.encode_counter::<NoLabelSet, f64, f64>(&value, None),
        _ => to.encode_gauge(&value),
    }
}

/// What a sample can be. As in Prometheus itself: whole numbers are exact up to 2⁵³, which is 104 days of ns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number(f64);

impl From<u64> for Number {
    fn from(value: u64) -> Number {
        Number(value as f64)
    }
}

impl From<usize> for Number {
    fn from(value: usize) -> Number {
        Number(value as f64)
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Number {
        Number(value)
    }
}

impl From<bool> for Number {
    fn from(value: bool) -> Number {
        Number(f64::from(u8::from(value)))
    }
}

impl Collector for Page {
    fn encode(&self, mut page: DescriptorEncoder<'_>) -> fmt::Result {
        let told = self.0.iter().filter(|family| !family.samples.is_empty());
        for family in told {
            family.encode(&mut page)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_is_written_as_the_format_has_it_and_what_is_missing_is_left_out() {
        let mut page = Page::default();
        page.counter("detector_losses", "What was lost.")
            .with([("name", "exec_dropped")], 0_u64)
            .with([("name", "say \"hi\"\n\\o/")], 12_u64);
        page.gauge("detector_nothing", "Not told here.");
        page.gauge("detector_age_seconds", "How old.").is(1.5);
        page.counter("detector_passes", "Passes.").is(1_u64 << 53);
        assert_eq!(
            page.render(),
            "# HELP detector_losses_total What was lost.\n\
             # TYPE detector_losses_total counter\n\
             detector_losses_total{name=\"exec_dropped\"} 0.0\n\
             detector_losses_total{name=\"say \\\"hi\\\"\\n\\\\o/\"} 12.0\n\
             # HELP detector_age_seconds How old.\n\
             # TYPE detector_age_seconds gauge\n\
             detector_age_seconds 1.5\n\
             # HELP detector_passes_total Passes.\n\
             # TYPE detector_passes_total counter\n\
             detector_passes_total 9007199254740992.0\n"
        );
    }
}
