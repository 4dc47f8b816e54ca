//! Fanal inside another actix-web application.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use actix::Arbiter;
use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use actix_web::web::ServiceConfig;
use fanal_actors::Broker;

use crate::auth::Authority;
use crate::config::Config;
use crate::doors::{Door, prepare_socket, routes};
use crate::{auth, preload, stopping, store, tunables};

/// A broker that runs inside an actix-web application. Clones are the same broker.
#[derive(Clone)]
pub struct Embedded {
    door: Arc<Door>,
    config: Arc<Config>,
    authority: Authority,
}

/// Starts a broker to be put into an actix-web application. Must be called in an actix system, such
/// as below `#[actix_web::main]`; `examples/embedded.rs` is a whole program.
///
/// What the configuration says about listening sockets, logging and TLS is the application's
/// business and is not looked at.
///
/// # Errors
/// If the data cannot be used, or is in use.
pub fn embed(config: Config) -> anyhow::Result<Embedded> {
    let store = store::open(&config)?;
    let surroundings = auth::Surroundings::new(Arbiter::new().handle());
    let (authority, policy) = Authority::new(&config, surroundings.clone())?;
    let (settings, wanted) = (tunables::settings(&config), preload::from_config(&config)?);
    let broker = Broker::start(settings, policy, Box::new(authority.clone()), store, wanted)?;
    surroundings.connect(broker.clone());
    actix_web::rt::spawn(expire(authority.clone(), broker.clone(), config.auth.recheck_interval));
    let door = Door::new(broker, Arc::new(tunables::door_settings(&config)));
    Ok(Embedded { door, config: Arc::new(config), authority })
}

impl Embedded {
    /// The broker's routes (`server.routes`), for `App::configure`. A route `*` takes every path
    /// that the application does not.
    pub fn routes(&self) -> impl FnOnce(&mut ServiceConfig) + use<> {
        let door = Arc::clone(&self.door);
        move |service| routes(&door, service)
    }

    /// Sets the options of new sockets, for `HttpServer::on_connect`. Without it, a client that
    /// takes nothing of what is sent keeps its connection until the kernel gives up.
    pub fn on_connect(&self) -> impl Fn(&dyn Any, &mut Extensions) + Send + Clone + use<> {
        let settings = Arc::clone(&self.door.settings);
        move |connection, _| {
            if let Some(stream) = connection.downcast_ref::<TcpStream>() {
                prepare_socket(stream, &settings);
            }
        }
    }

    /// Takes another configuration's word for who may do what, all of it or, on an error, nothing.
    /// Streams that are no longer allowed end. Other settings stay as they are.
    ///
    /// # Errors
    /// If something that the configuration names cannot be used.
    pub fn reload(&self, config: &Config) -> anyhow::Result<()> {
        self.authority.reload(config, &self.door.broker)
    }

    /// The broker.
    pub fn broker(&self) -> &Broker {
        &self.door.broker
    }

    /// Closes every connection over `shutdown.drain` and saves. To be called before the application
    /// stops its server.
    ///
    /// # Errors
    /// If the last changes could not be saved.
    pub async fn stop(self) -> anyhow::Result<()> {
        stopping::stop(self.door.broker.clone(), self.config.shutdown.drain).await
    }
}

/// Has credentials judged again once they have expired.
async fn expire(authority: Authority, broker: Broker, interval: Duration) {
    if interval.is_zero() {
        return;
    }
    let mut ticks = actix_web::rt::time::interval(interval);
    loop {
        ticks.tick().await;
        if authority.has_expired() {
            broker.recheck();
        }
    }
}
