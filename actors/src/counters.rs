//! Counters of what the broker did, dropped and refused, by reason.
//!
//! The reasons are a closed set: never a path, a user or an address.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[doc = $text:literal])* $name:ident),* $(,)?) => {
        /// One number each, rising from the start of the process.
        #[derive(Debug, Default)]
        pub struct Counters { $($(#[doc = $text])* pub $name: Counter,)* }

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
    connections_opened,
    /// Connections that were refused because there were as many as there may be.
    connections_refused,
    /// Connections that were refused because their address had as many as it may have.
    connections_refused_address,
    /// Connections that were refused because too many came in a second.
    connections_refused_rate,
    /// Connections that were refused because a proxy did not say whose they were.
    connections_refused_proxy,
    /// Connections that were closed because they took nothing of what was sent.
    connections_closed_stalled,
    /// Connections that were closed because a ping was not answered.
    connections_closed_unresponsive,
    /// Connections that were closed because no request with good credentials came in time.
    connections_closed_unproven,
    /// Connections that were closed because they had no stream and asked for nothing.
    connections_closed_idle,
    /// Connections that were closed because all they sent was malformed or not permitted.
    connections_closed_wrong,
    /// Connections that an operator ended.
    connections_closed_kicked,
    /// Requests that were carried out or refused, whatever their answer.
    requests,
    /// Messages that were no request.
    malformed_messages,
    /// Requests that were refused because too many came in a second.
    requests_throttled,
    /// Requests that were refused because their credentials were not good.
    credentials_refused,
    /// Requests that were refused because it could not be found out whose they were.
    credentials_unavailable,
    /// Requests that were refused because too many credentials from their address were wrong.
    credentials_held_off,
    /// Requests that were refused because their user may not do that.
    requests_forbidden,
    /// Streams that were ended because their user may no longer have them.
    streams_revoked,
    /// Requests that were refused because their user has as many connections as it may have.
    quota_connections,
    /// Requests that were refused because their user asked for too much in a second.
    quota_rate,
    /// Streams that were refused because their user has as many as it may have.
    quota_streams,
    /// Resources that were refused because their user has made as many as it may have.
    quota_resources,
    /// Values that were refused because they are larger than their user may write.
    quota_value_bytes,
    /// Requests that were refused because they are larger than those of their user may be.
    quota_message_bytes,
    /// Times that who may do what was read anew.
    reloads,
    /// Times that it was to be read anew, and something was wrong.
    reloads_failed,
    /// Updates that resources took.
    updates_in,
    /// Updates handed to streams.
    updates_delivered,
    /// Older updates that slow streams did not get.
    updates_skipped,
    /// Older updates that links did not hand over.
    link_updates_skipped,
    /// Values refused because of `limits.values_bytes_max`.
    values_refused,
    /// Times that a mailbox was full and a connection had to wait.
    mailbox_full,
    /// Times that a connection had as many requests in flight as it may have.
    requests_held_back,
    /// Panics in handlers, each a fault of the broker.
    panics,
    /// Saves of what had changed.
    snapshots_saved,
    /// Whole copies of what is saved.
    backups_saved,
    /// Saves, structural changes, copies or values that could not be written or read.
    store_errors,
    /// Values of resources that nobody used that were left to the store.
    values_left_to_store,
    /// Values that were read from the store again.
    values_brought_back,
    /// Structural requests refused because too many changes wait for the disk.
    changes_refused,
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
