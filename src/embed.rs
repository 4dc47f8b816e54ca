//! Fanal inside another actix-web application.

use std::any::Any;
use std::sync::Arc;

use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use actix_web::web::ServiceConfig;
use fanal_actors::Broker;

use crate::config::Config;
use crate::doors::{Door, prepare_socket, routes};
use crate::{app, auth, preload, store};

/// A broker that runs inside an actix-web application. Clones are the same broker.
#[derive(Clone)]
pub struct Embedded {
    door: Arc<Door>,
    config: Arc<Config>,
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
    let (credentials, policy) = auth::from_config(&config.auth);
    let (settings, wanted) = (app::settings(&config), preload::from_config(&config)?);
    let broker = Broker::start(settings, policy, credentials, store, wanted)?;
    let door = Door::new(broker, app::door_settings(&config));
    Ok(Embedded { door, config: Arc::new(config) })
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
        app::stop(self.door.broker.clone(), self.config.shutdown.drain).await
    }
}
