//! Metrics as the encoder takes them: a name with its help, and then numbers with labels.
//!
//! Each label has a closed set of values; none is ever a path, a user or an address.

use std::fmt::Error;

use fanal_actors::metrics::Reading;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Names and values of labels.
pub type Labels<const N: usize> = [(&'static str, String); N];

/// Labels of which there is one.
pub fn label(name: &'static str, value: impl Into<String>) -> Labels<1> {
    [(name, value.into())]
}

/// A counter.
pub fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    count: u64,
) -> Result<(), Error> {
    let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    ConstCounter::new(count).encode(metric)
}

/// A counter that is no whole number.
pub fn counter_f64(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    count: f64,
) -> Result<(), Error> {
    let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    ConstCounter::new(count).encode(metric)
}

/// A counter for each of some labels.
pub fn counters<const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    counts: impl IntoIterator<Item = (Labels<N>, u64)>,
) -> Result<(), Error> {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, count) in counts {
        ConstCounter::new(count).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

/// A gauge.
pub fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    number: u64,
) -> Result<(), Error> {
    let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    whole(number).encode(metric)
}

/// A gauge that is no whole number.
pub fn gauge_f64(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    number: f64,
) -> Result<(), Error> {
    let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    ConstGauge::new(number).encode(metric)
}

/// A gauge for each of some labels.
pub fn gauges<const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    numbers: impl IntoIterator<Item = (Labels<N>, u64)>,
) -> Result<(), Error> {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, number) in numbers {
        whole(number).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

/// A histogram.
pub fn histogram(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    reading: &Reading,
) -> Result<(), Error> {
    let metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    times(metric, reading)
}

/// A histogram for each of some labels.
pub fn histograms<const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    readings: impl IntoIterator<Item = (Labels<N>, Reading)>,
) -> Result<(), Error> {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for (labels, reading) in readings {
        times(metric.encode_family(&labels)?, &reading)?;
    }
    Ok(())
}

fn times(mut metric: MetricEncoder<'_>, reading: &Reading) -> Result<(), Error> {
    let Reading { buckets, sum, count } = reading;
    metric.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None)
}

fn whole(number: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(number).unwrap_or(i64::MAX))
}
