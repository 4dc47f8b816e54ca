//! Who a client is and what it may do, as pure functions. Where identities come from is a port.

mod identity;
mod policy;

pub use identity::Identity;
pub use policy::Policy;
