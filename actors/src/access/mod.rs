//! Who a client is and what it may do, as pure functions. Where identities come from is a port.

mod allowance;
mod identity;
mod policy;
mod rights;
mod rule;

pub use allowance::{Allowance, Allowed, Counted, Rate};
pub use identity::Identity;
pub use policy::{Explanation, Policy, View, is_special};
pub use rights::Rights;
pub use rule::{Effect, Rule};
