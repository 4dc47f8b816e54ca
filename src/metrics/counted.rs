//! The broker's counters as families of metrics: which counter is which reason of which family.

use std::collections::BTreeMap;
use std::fmt::Error;

use fanal_actors::Counters;
use prometheus_client::encoding::DescriptorEncoder;

use super::write::{counter, counters, label};

/// A family whose members are counters of the broker.
struct Family {
    name: &'static str,
    help: &'static str,
    members: Members,
}

enum Members {
    /// One counter, without a label.
    One(&'static str),
    /// A counter for each value of a label.
    Each(&'static str, &'static [(&'static str, &'static str)]),
}

use Members::{Each, One};

const FAMILIES: &[Family] = &[
    Family {
        name: "fanal_connections_opened",
        help: "Connections that were opened, by door",
        members: Each(
            "door",
            &[
                ("websocket", "connections_opened_websocket"),
                ("tcp", "connections_opened_tcp"),
                ("unix", "connections_opened_unix"),
                ("embedded", "connections_opened_embedded"),
            ],
        ),
    },
    Family {
        name: "fanal_connections_refused",
        help: "Connections that were refused before they were open, by reason",
        members: Each(
            "reason",
            &[
                ("full", "connections_refused"),
                ("stopping", "connections_refused_stopping"),
                ("address", "connections_refused_address"),
                ("rate", "connections_refused_rate"),
                ("proxy", "connections_refused_proxy"),
                ("origin", "connections_refused_origin"),
                ("handshake", "connections_refused_handshake"),
                ("tls", "connections_refused_tls"),
            ],
        ),
    },
    Family {
        name: "fanal_connections_closed",
        help: "Connections that are over, by reason",
        members: Each(
            "reason",
            &[
                ("client", "connections_closed_client"),
                ("broken", "connections_closed_broken"),
                ("stopping", "connections_closed_stopping"),
                ("protocol", "connections_closed_protocol"),
                ("text", "connections_closed_text"),
                ("too_big", "connections_closed_too_big"),
                ("unresponsive", "connections_closed_unresponsive"),
                ("idle", "connections_closed_idle"),
                ("unproven", "connections_closed_unproven"),
                ("wrong", "connections_closed_wrong"),
                ("kicked", "connections_closed_kicked"),
                ("stalled", "connections_closed_stalled"),
                ("fault", "connections_closed_fault"),
            ],
        ),
    },
    Family {
        name: "fanal_requests_begun",
        help: "Requests that came, answered or not; fanal_requests_total has the answered ones",
        members: One("requests"),
    },
    Family {
        name: "fanal_requests_refused",
        help: "Requests that were refused for a reason other than what they asked for, by reason",
        members: Each(
            "reason",
            &[
                ("malformed", "malformed_messages"),
                ("throttled", "requests_throttled"),
                ("credentials", "credentials_refused"),
                ("credentials_unavailable", "credentials_unavailable"),
                ("credentials_held_off", "credentials_held_off"),
                ("forbidden", "requests_forbidden"),
                ("quota_connections", "quota_connections"),
                ("quota_rate", "quota_rate"),
                ("quota_streams", "quota_streams"),
                ("quota_resources", "quota_resources"),
                ("quota_value_bytes", "quota_value_bytes"),
                ("quota_message_bytes", "quota_message_bytes"),
                ("values_bytes", "values_refused"),
                ("changes_waiting", "changes_refused"),
            ],
        ),
    },
    Family {
        name: "fanal_requests_held_back",
        help: "Requests that had to wait for others of their connection",
        members: One("requests_held_back"),
    },
    Family {
        name: "fanal_streams_revoked",
        help: "Streams that were ended because their user may no longer have them",
        members: One("streams_revoked"),
    },
    Family {
        name: "fanal_updates_received",
        help: "Values that resources took, from clients and through links",
        members: One("updates_in"),
    },
    Family {
        name: "fanal_updates_delivered",
        help: "Updates handed to streams",
        members: One("updates_delivered"),
    },
    Family {
        name: "fanal_updates_skipped",
        help: "Older updates that a slow stream or link did not get, by the bound that was reached",
        members: Each(
            "reason",
            &[
                ("stream_buffer", "updates_skipped_buffer"),
                ("stream_buffer_bytes", "updates_skipped_buffer_bytes"),
                ("outbox_updates_bytes", "updates_skipped_outbox_bytes"),
                ("link_buffer", "link_updates_skipped"),
            ],
        ),
    },
    Family {
        name: "fanal_mailbox_full",
        help: "Times that a mailbox was full and a connection had to wait",
        members: One("mailbox_full"),
    },
    Family {
        name: "fanal_panics",
        help: "Panics in handlers, each a fault of the broker",
        members: One("panics"),
    },
    Family {
        name: "fanal_reloads",
        help: "Times that who may do what was read anew, by outcome",
        members: Each("outcome", &[("success", "reloads"), ("failure", "reloads_failed")]),
    },
    Family {
        name: "fanal_values_left_to_store",
        help: "Values of resources that nobody used that were left to the store",
        members: One("values_left_to_store"),
    },
    Family {
        name: "fanal_values_brought_back",
        help: "Values that were read from the store again",
        members: One("values_brought_back"),
    },
];

/// Writes all families.
pub fn write(encoder: &mut DescriptorEncoder<'_>, counted: &Counters) -> Result<(), Error> {
    let counts: BTreeMap<&str, u64> =
        counted.all().into_iter().map(|(name, _, count)| (name, count)).collect();
    let count = |name: &str| counts.get(name).copied().unwrap_or_default();
    for Family { name, help, members } in FAMILIES {
        match members {
            One(member) => counter(encoder, name, help, count(member))?,
            Each(key, members) => {
                let members =
                    members.iter().map(|(value, member)| (label(key, *value), count(member)));
                counters(encoder, name, help, members)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Counters that are told otherwise: as the sum of a family, or by the store's own metrics.
    const ELSEWHERE: &[&str] = &[
        "connections_opened",
        "updates_skipped",
        "snapshots_saved",
        "backups_saved",
        "store_errors",
    ];

    #[test]
    fn every_counter_is_told_once() {
        let of = |family: &Family| match family.members {
            One(member) => vec![member],
            Each(_, members) => members.iter().map(|(_, member)| *member).collect(),
        };
        let mut told: Vec<&str> = FAMILIES.iter().flat_map(of).collect();
        told.extend(ELSEWHERE);
        let counters = Counters::default();
        let all: BTreeSet<&str> = counters.all().into_iter().map(|(name, _, _)| name).collect();
        assert_eq!(told.iter().copied().collect::<BTreeSet<_>>(), all);
        assert_eq!(told.len(), all.len());
    }
}
