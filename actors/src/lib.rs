//! The broker without a world: no socket, no file, no environment, no clock on the wall.
//!
//! `protocol`, `state`, `access` and `verbs` are pure; `directory`, `resource`, `session` and
//! `supervisor` are the actors around them; `ports` is what the broker asks of the world. The map
//! of the whole is ARCHITECTURE.md.

mod access;
mod broker;
mod context;
mod counters;
mod directory;
mod events;
mod guard;
mod inspect;
pub mod metrics;
mod periodic;
pub mod ports;
mod protocol;
mod resource;
mod session;
mod settings;
mod shared;
mod state;
mod supervisor;
mod tunable;
mod unsaved;
mod verbs;

pub use access::{
    Allowance, Allowed, Effect, Explanation, Identity, Policy, Rate, Rights, Rule, View,
};
pub use broker::{Amounts, Broker, Provision, StartError};
pub use context::Bare;
pub use counters::{Counter, Counters};
pub use events::{Event, Events};
pub use guard::{guarded, is_guarded};
pub use inspect::{Inspector, LinkView, ResourceView, SessionView, StreamView, TreeView, Wanted};
pub use protocol::{
    AuthFields, Boundary, Class, Fault, Limits, Name, Path, Pattern, Refusal, Response, Rnum,
    SplitError, SplitRequest, Value, Verb, encode_after_payload, encode_before_payload,
    encode_response, split, split_value,
};
pub use resource::Activity;
pub use session::{Session, SessionSummary, Turn, WrongRequests};
pub use settings::{ClassRule, Settings, Sync};
pub use state::{Ending, OutboxLimits, Outgoing};
pub use tunable::{Number, Tunable};

/// Inner parts, for `benches` only: nothing here is kept stable.
#[doc(hidden)]
pub mod bench_support {
    pub use crate::state::{Opened, Outbox, Reid, Reply, Responder, StreamId, Tree};
}
