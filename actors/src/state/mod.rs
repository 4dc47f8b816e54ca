//! State: the broker's data structures, pure and synchronous.
//!
//! Nothing in here does input or output, knows an actor or reads a clock; each structure is
//! tested without actix.

mod ack;
mod budget;
mod cell;
mod graph;
mod link;
mod outbox;
mod reid;
mod reply;
mod resource;
mod responder;
mod stream;
mod tree;

pub use ack::{Ack, AckGuard};
pub use budget::Budget;
pub use cell::ValueCell;
pub use graph::{LinkGraph, LinkRefused};
pub use link::LinkRing;
pub use outbox::{Ending, Outbox, OutboxLimits, OutboxSeen, StreamSeen, Tally};
pub use reid::Reid;
pub use reply::{Occasion, Outgoing, Reply};
pub use resource::{Delivery, Effects, Link, ResourceState};
pub use responder::Responder;
pub use stream::{Opened, StreamId};
pub use tree::{Directory, Found, Node, NotMade, Tree};
