//! `/metrics`: the broker's counters and a few gauges, for Prometheus.

use actix_web::{HttpResponse, web};
use fanal_actors::Broker;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers with everything.
pub async fn answer(broker: web::Data<Broker>) -> HttpResponse {
    let mut registry = Registry::with_prefix("fanal");
    registry.register_collector(Box::new(Numbers(broker.get_ref().clone())));
    let mut text = String::new();
    match encode(&mut text, &registry) {
        Ok(()) => HttpResponse::Ok().content_type(CONTENT_TYPE).body(text),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}

/// The numbers of a broker as they are when they are asked for.
struct Numbers(Broker);

impl std::fmt::Debug for Numbers {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Numbers")
    }
}

impl Collector for Numbers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Numbers(broker) = self;
        for (name, help, count) in broker.counters().all() {
            let counter = ConstCounter::new(count);
            let help = help.trim().trim_end_matches('.');
            let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
            counter.encode(metric)?;
        }
        let (bytes, resident) = broker.value_bytes();
        let durable = u64::from(broker.is_durable());
        for (name, help, number) in [
            ("sessions", "Connections that are open", broker.sessions() as u64),
            ("nodes", "Resources and directories", broker.nodes() as u64),
            ("values_bytes", "Bytes of all values", bytes),
            ("values_resident_bytes", "Bytes of the values that are in memory", resident),
            ("store_durable", "1 while what is acknowledged gets to the disk, else 0", durable),
        ] {
            let gauge = ConstGauge::new(i64::try_from(number).unwrap_or(i64::MAX));
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        Ok(())
    }
}
