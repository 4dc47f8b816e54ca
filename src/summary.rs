//! A line in the log now and then that says what the server does.

use std::time::Duration;

use fanal_actors::Broker;
use indicatif::{BinaryBytes, HumanCount};
use tokio::sync::watch;

use crate::statistics::Rates;
use crate::ticks::Ticks;

/// Writes it each interval, if that is not zero, until the broker stops.
pub async fn write(broker: Broker, every: watch::Receiver<Duration>) {
    let mut ticks = Ticks::new(every);
    let mut rates = Rates::new(&broker);
    while !broker.is_stopping() && ticks.next().await {
        let [requests, taken, delivered, skipped] = rates.step(&broker).map(HumanCount);
        let (values, _) = broker.value_bytes();
        let memory = resident_bytes()
            .map_or(String::new(), |bytes| format!(", {} of memory", BinaryBytes(bytes)));
        let disk = if broker.is_durable() { "" } else { ", THE STORE CANNOT BE WRITTEN" };
        log::info!(
            "summary: {} connections, {requests} requests/s, updates {taken}/s in, {delivered}/s \
             delivered, {skipped}/s skipped, {} resources and directories with {}{memory}{disk}",
            HumanCount(broker.sessions() as u64),
            HumanCount(broker.nodes() as u64),
            BinaryBytes(values),
        );
    }
}

/// Memory of the process, where Linux says it.
fn resident_bytes() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = pages.split(' ').nth(1)?.parse().ok()?;
    Some(pages.saturating_mul(u64::try_from(rustix::param::page_size()).ok()?))
}
