//! A line in the log now and then that says what the server does.

use std::time::Duration;

use actix_web::rt::time::{Instant, interval_at};
use fanal_actors::Broker;
use indicatif::{BinaryBytes, HumanCount};
use tokio::time::MissedTickBehavior;

use crate::statistics::Rates;

/// Writes it again and again, until the broker stops.
pub async fn write(broker: Broker, every: Duration) {
    let mut ticks = interval_at(Instant::now() + every, every);
    // After a pause of the machine there is nothing to catch up.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut rates = Rates::new(&broker);
    while !broker.is_stopping() {
        ticks.tick().await;
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
