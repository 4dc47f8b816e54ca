//! Counters of what the broker did, dropped and refused, by reason.
//!
//! The reasons are a closed set: never a path, a user or an address.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::metrics::Lanes;

macro_rules! counters {
    ($($(#[doc = $text:literal])* $name:ident: $kind:ty),* $(,)?) => {
        /// One number each, rising from the start of the process.
        #[derive(Debug, Default)]
        pub struct Counters { $($(#[doc = $text])* pub $name: $kind,)* }

        impl Counters {
            /// Every counter by name, with its meaning.
            pub fn all(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$((stringify!($name), concat!($($text),*), self.$name.get()),)*]
            }
        }
    };
}

counters! {
    /// Connections that were opened.
    connections_opened: Counter,
    /// Those of them that came through the WebSocket port.
    connections_opened_websocket: Counter,
    /// Those of them that came through the tcp door.
    connections_opened_tcp: Counter,
    /// Those of them that came through the unix door.
    connections_opened_unix: Counter,
    /// Those of them that came through another application.
    connections_opened_embedded: Counter,
    /// Connections that were refused because there were as many as there may be.
    connections_refused: Counter,
    /// Connections that were refused because the broker was stopping.
    connections_refused_stopping: Counter,
    /// Connections that were refused because their address had as many as it may have.
    connections_refused_address: Counter,
    /// Connections that were refused because too many came in a second.
    connections_refused_rate: Counter,
    /// Connections that were refused because a proxy did not say whose they were.
    connections_refused_proxy: Counter,
    /// Connections that were refused because their Origin may not connect.
    connections_refused_origin: Counter,
    /// Connections that were refused because they did not begin as a WebSocket does.
    connections_refused_handshake: Counter,
    /// Connections that were refused because they were not encrypted as they should be.
    connections_refused_tls: Counter,
    /// Connections that the client closed.
    connections_closed_client: Counter,
    /// Connections that broke or ended without a word.
    connections_closed_broken: Counter,
    /// Connections that were closed because the broker stopped.
    connections_closed_stopping: Counter,
    /// Connections that were closed because what came was no frames or no messages.
    connections_closed_protocol: Counter,
    /// Connections that were closed because a text message came.
    connections_closed_text: Counter,
    /// Connections that were closed because a message was too big.
    connections_closed_too_big: Counter,
    /// Connections that were closed because of a fault of the broker.
    connections_closed_fault: Counter,
    /// Connections that were closed because they took nothing of what was sent.
    connections_closed_stalled: Counter,
    /// Connections that were closed because a ping was not answered.
    connections_closed_unresponsive: Counter,
    /// Connections that were closed because no request with good credentials came in time.
    connections_closed_unproven: Counter,
    /// Connections that were closed because they had no stream and asked for nothing.
    connections_closed_idle: Counter,
    /// Connections that were closed because all they sent was malformed or not permitted.
    connections_closed_wrong: Counter,
    /// Connections that an operator ended.
    connections_closed_kicked: Counter,
    /// Requests that were carried out or refused, whatever their answer.
    requests: Lanes,
    /// Messages that were no request.
    malformed_messages: Counter,
    /// Requests that were refused because too many came in a second.
    requests_throttled: Counter,
    /// Requests that were refused because their credentials were not good.
    credentials_refused: Counter,
    /// Requests that were refused because it could not be found out whose they were.
    credentials_unavailable: Counter,
    /// Requests that were refused because too many credentials from their address were wrong.
    credentials_held_off: Counter,
    /// Requests that were refused because their user may not do that.
    requests_forbidden: Counter,
    /// Streams that were ended because their user may no longer have them.
    streams_revoked: Counter,
    /// Requests that were refused because their user has as many connections as it may have.
    quota_connections: Counter,
    /// Requests that were refused because their user asked for too much in a second.
    quota_rate: Counter,
    /// Streams that were refused because their user has as many as it may have.
    quota_streams: Counter,
    /// Resources that were refused because their user has made as many as it may have.
    quota_resources: Counter,
    /// Values that were refused because they are larger than their user may write.
    quota_value_bytes: Counter,
    /// Requests that were refused because they are larger than those of their user may be.
    quota_message_bytes: Counter,
    /// Times that who may do what was read anew.
    reloads: Counter,
    /// Times that it was to be read anew, and something was wrong.
    reloads_failed: Counter,
    /// Updates that resources took.
    updates_in: Lanes,
    /// Updates handed to streams.
    updates_delivered: Lanes,
    /// Older updates that slow streams did not get.
    updates_skipped: Counter,
    /// Those of them that `stream.buffer` had no place for.
    updates_skipped_buffer: Counter,
    /// Those of them that `stream.buffer_bytes` had no place for.
    updates_skipped_buffer_bytes: Counter,
    /// Those of them that `outbox.updates_bytes_max` had no place for.
    updates_skipped_outbox_bytes: Counter,
    /// Older updates that links did not hand over.
    link_updates_skipped: Counter,
    /// Values refused because of `limits.values_bytes_max`.
    values_refused: Counter,
    /// Times that a mailbox was full and a connection had to wait.
    mailbox_full: Counter,
    /// Times that a connection had as many requests in flight as it may have.
    requests_held_back: Counter,
    /// Panics in handlers, each a fault of the broker.
    panics: Counter,
    /// Saves of what had changed.
    snapshots_saved: Counter,
    /// Whole copies of what is saved.
    backups_saved: Counter,
    /// Saves, structural changes, copies or values that could not be written or read.
    store_errors: Counter,
    /// Values of resources that nobody used that were left to the store.
    values_left_to_store: Counter,
    /// Values that were read from the store again.
    values_brought_back: Counter,
    /// Structural requests refused because too many changes wait for the disk.
    changes_refused: Counter,
}

/// A number that only rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to the number.
    pub fn add(&self, more: u64) {
        if more > 0 {
            self.0.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
