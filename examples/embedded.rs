//! An actix-web application of one's own, with Fanal inside.
//!
//! `cargo run --release --example embedded` serves a page of this application at `/hello` and
//! Lighthouse clients at `/websocket`, on 127.0.0.1:3000. It takes the options of the server, such
//! as `--config FILE` and `--port 4000`.

use actix_web::rt::signal::unix::{SignalKind, signal};
use actix_web::{App, HttpResponse, HttpServer, web};
use clap::Parser;
use fanal::config::{self, ServerArgs};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    server: ServerArgs,
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let config = config::load(&arguments.server, fanal::cli::environment())?.config;
    env_logger::Builder::new().parse_filters(&config.log.level).init();
    let address = (config.server.bind, config.server.port);
    let workers = config.server.workers;

    let fanal = fanal::embed(config)?;
    let (routes, on_connect) = (fanal.clone(), fanal.on_connect());
    let server = HttpServer::new(move || {
        App::new()
            .route("/hello", web::get().to(async || HttpResponse::Ok().body("hello\n")))
            .configure(routes.routes())
    })
    .workers(workers)
    .on_connect(on_connect)
    .disable_signals()
    .bind(address)?;
    println!("listening on {:?}", server.addrs());
    let server = server.run();
    let handle = server.handle();
    actix_web::rt::spawn(server);

    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    // First Fanal, which closes its connections and saves; then the server.
    fanal.stop().await?;
    handle.stop(false).await;
    Ok(())
}
