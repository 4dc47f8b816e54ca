//! Admission: how many connections there may be of one address and in one second, and how often one
//! may ask.
//!
//! The bound on connections in all is the broker's own.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use fanal_actors::{Counters, ports::Throttle};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use parking_lot::Mutex;

use super::DoorSettings;

/// Keeps the bounds for all doors of a server.
#[derive(Clone)]
pub struct Gate {
    rate: Option<Arc<DefaultDirectRateLimiter>>,
    addresses: Option<Arc<Addresses>>,
    requests_per_second_max: Option<NonZeroU32>,
}

struct Addresses {
    max: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection that was let in, and where it came from; its place is free again when it is
/// dropped.
pub struct Admission {
    /// With bounds of addresses only.
    place: Option<Box<(Arc<Addresses>, IpAddr)>>,
    from: Box<str>,
}

/// Why a connection was not let in: a sentence for the person behind it.
pub struct Turned(pub &'static str);

impl Gate {
    /// The gate with these bounds; 0 is none.
    pub fn new(settings: &DoorSettings) -> Self {
        let rate = NonZeroU32::new(settings.connections_per_second_max);
        let max = settings.connections_per_address_max;
        Gate {
            rate: rate.map(|rate| Arc::new(RateLimiter::direct(Quota::per_second(rate)))),
            addresses: (max > 0).then(|| Arc::new(Addresses { max, open: Mutex::default() })),
            requests_per_second_max: NonZeroU32::new(settings.requests_per_second_max),
        }
    }

    /// Lets a connection in. `address` is that of the client, if it has one; `from` is what the
    /// log says of it.
    ///
    /// # Errors
    /// The reason, if a bound is reached.
    pub fn admit(
        &self,
        counters: &Counters,
        address: Option<IpAddr>,
        from: String,
    ) -> Result<Admission, Turned> {
        if self.rate.as_ref().is_some_and(|rate| rate.check().is_err()) {
            counters.connections_refused_rate.add(1);
            return Err(Turned(
                "too many connections come in a second (server.connections_per_second_max)\n",
            ));
        }
        let place = match (&self.addresses, address) {
            (Some(addresses), Some(address)) => {
                if !addresses.take(address) {
                    counters.connections_refused_address.add(1);
                    return Err(Turned(
                        "this address has as many connections as it may have \
                         (server.connections_per_address_max)\n",
                    ));
                }
                Some(Box::new((Arc::clone(addresses), address)))
            }
            _ => None,
        };
        Ok(Admission { place, from: from.into() })
    }

    /// The bound on the requests of one connection.
    pub fn throttle(&self) -> Option<Box<dyn Throttle>> {
        let rate = self.requests_per_second_max?;
        Some(Box::new(RequestRate(RateLimiter::direct(Quota::per_second(rate)))))
    }
}

impl Addresses {
    fn take(&self, address: IpAddr) -> bool {
        let mut open = self.open.lock();
        let count = open.entry(address).or_default();
        if *count >= self.max {
            return false;
        }
        *count += 1;
        true
    }

    fn free(&self, address: IpAddr) {
        let mut open = self.open.lock();
        if let Some(count) = open.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&address);
            }
        }
    }
}

impl fmt::Display for Admission {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.from)
    }
}

impl Admission {
    /// Frees the place of the connection.
    pub fn release(&mut self) {
        if let Some(place) = self.place.take() {
            let (addresses, address) = *place;
            addresses.free(address);
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.release();
    }
}

struct RequestRate(DefaultDirectRateLimiter);

impl Throttle for RequestRate {
    fn admit(&self) -> bool {
        self.0.check().is_ok()
    }
}
