//! Who may do what in a broker inside another application: credentials of the upgrade, and another
//! configuration's word while it runs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail loudly"
)]

mod support;

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use actix_web::{App, HttpServer};
use fanal::config::{self, Config, ServerArgs, Source};
use support::{Client, ClientOptions, Request, nil};

const RULES: &str = "auth.rules = [{ allow = [\"READ\"], paths = [\"news\"] }]\n";

/// A configuration with a user `ann`, an admin, and these rules; nothing is kept.
fn configuration(rules: &str) -> Config {
    let text = format!(
        "store.engine = \"memory\"\nauth.mode = \"users\"\nauth.preset = \"none\"\n\
         auth.recheck_interval = \"20ms\"\nauth.users = [{{ name = \"ann\", token = \"a\" }}, \
         {{ name = \"root\", token = \"r\", admin = true }}]\n{rules}"
    );
    let source = Source { path: "fanal.toml".into(), text };
    config::resolve(Some(&source), &ServerArgs::default(), std::iter::empty()).unwrap().config
}

/// An application with a broker in it, on a thread of its own.
struct Application {
    port: u16,
    reloads: Option<SyncSender<Config>>,
    outcomes: Receiver<Result<(), String>>,
    thread: Option<JoinHandle<()>>,
}

impl Application {
    fn start(config: Config) -> Self {
        let (started, port) = sync_channel(1);
        let (reloads, wanted) = sync_channel::<Config>(1);
        let (done, outcomes) = sync_channel(1);
        let run = move || async move {
            let fanal = fanal::embed(config).unwrap();
            let routes = fanal.clone();
            let server = HttpServer::new(move || App::new().configure(routes.routes()));
            let server = server.workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
            started.send(server.addrs()[0].port()).unwrap();
            let server = server.run();
            let handle = server.handle();
            actix_web::rt::spawn(server);
            let asked = fanal.clone();
            let reload = move || {
                for config in wanted {
                    done.send(asked.reload(&config).map_err(|error| error.to_string())).unwrap();
                }
            };
            actix_web::rt::task::spawn_blocking(reload).await.unwrap();
            fanal.stop().await.unwrap();
            handle.stop(false).await;
        };
        let thread = thread::spawn(move || actix_web::rt::System::new().block_on(run()));
        let port = port.recv().unwrap();
        Application { port, reloads: Some(reloads), outcomes, thread: Some(thread) }
    }

    fn reload(&self, config: Config) -> Result<(), String> {
        self.reloads.as_ref().unwrap().send(config).unwrap();
        self.outcomes.recv().unwrap()
    }

    fn client(&self, user: &str, token: &str) -> Client {
        Client::connect(self.port, ClientOptions::default().user(user, token))
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.reloads = None;
        if let Some(thread) = self.thread.take() {
            // A test that failed has said why already.
            drop(thread.join());
        }
    }
}

#[test]
fn another_configuration_counts_at_once_or_not_at_all() {
    let application = Application::start(configuration(RULES));
    application.client("root", "r").expect("CREATE", &["news"], nil(), 201);
    let mut ann = application.client("ann", "a");
    ann.expect("STREAM", &["news"], nil(), 200);
    let mut faulty = configuration("");
    faulty.auth.users_file = "not-there.toml".into();
    let error = application.reload(faulty).unwrap_err();
    assert!(error.contains("not-there.toml"), "{error}");
    ann.expect("GET", &["news"], nil(), 200);
    application.reload(configuration("")).unwrap();
    ann.expect_end_of_stream(403);
    ann.expect("GET", &["news"], nil(), 403);
    application.reload(configuration(RULES)).unwrap();
    ann.expect("GET", &["news"], nil(), 200);
}

#[test]
fn credentials_of_the_upgrade_count_where_auth_says_nothing() {
    let application = Application::start(configuration(RULES));
    application.client("root", "r").expect("CREATE", &["news"], nil(), 201);
    for (header, rnum) in [
        ("Authorization: Basic YW5uOmE=", 200),
        ("Authorization: Bearer a", 200),
        ("Authorization: Bearer b", 401),
        ("X-Nothing: a", 401),
    ] {
        let options = ClientOptions::default().header(header);
        let mut client = Client::connect(application.port, options);
        let request = Request { auth: None, ..Request::new("GET", &["news"]) };
        client.send_request(&request);
        assert_eq!(client.next_answer().rnum, rnum, "{header}");
    }
}
