//! The promises of the broker, in order of weight, each held against the real server: a file for
//! each.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail loudly"
)]

mod support;

#[path = "promises/bounds.rs"]
mod bounds;
#[path = "promises/convergence.rs"]
mod convergence;
#[path = "promises/durability.rs"]
mod durability;
#[path = "promises/isolation.rs"]
mod isolation;
#[path = "promises/model.rs"]
mod model;
#[path = "promises/one_answer.rs"]
mod one_answer;
#[path = "promises/order.rs"]
mod order;
#[path = "promises/own_writes.rs"]
mod own_writes;
#[path = "promises/programs.rs"]
mod programs;
