//! What a service manager is told.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail loudly"
)]

mod support;

use std::os::unix::net::UnixDatagram;

use support::{PATIENCE, Server, nil};

/// The manager's end of a notification socket.
struct Manager {
    folder: tempfile::TempDir,
    socket: UnixDatagram,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Manager { folder, socket }
    }

    fn start(&self, settings: &str, more: &[(&str, &str)]) -> Server {
        let mut server = Server::prepare(settings);
        let path = self.folder.path().join("notify");
        server.set_environment("NOTIFY_SOCKET", path.to_str().unwrap());
        for (name, value) in more {
            server.set_environment(name, value);
        }
        server.start_again();
        server
    }

    fn next(&self) -> String {
        let mut bytes = [0; 4096];
        let count = self.socket.recv(&mut bytes).expect("the manager is told something");
        String::from_utf8(bytes[..count].to_vec()).unwrap()
    }
}

#[test]
fn it_is_told_when_the_server_is_ready_and_when_it_stops() {
    let manager = Manager::new();
    let mut server = manager.start("", &[]);
    let ready = manager.next();
    assert!(ready.contains("READY=1\n"), "{ready:?}");
    assert!(ready.contains("STATUS=0 resources and directories loaded"), "{ready:?}");
    server.client().expect("CREATE", &["a"], nil(), 201);
    assert_eq!(server.stop().code(), Some(0));
    assert_eq!(manager.next(), "STOPPING=1\n");
}

#[test]
fn a_server_that_does_not_start_is_not_ready() {
    let manager = Manager::new();
    let server = manager.start("", &[]);
    manager.next();
    // The port is taken.
    let mut second = Server::prepare(&format!("server.port = {}", server.port()));
    let path = manager.folder.path().join("notify");
    second.set_environment("NOTIFY_SOCKET", path.to_str().unwrap());
    let (status, output) = second.run_to_end();
    assert!(!status.success(), "{output}");
    manager.socket.set_nonblocking(true).unwrap();
    assert!(manager.socket.recv(&mut [0; 100]).is_err(), "nothing was told");
}

#[test]
fn a_watchdog_is_kept_quiet() {
    let manager = Manager::new();
    let _server = manager.start("", &[("WATCHDOG_USEC", "400000")]);
    let ready = manager.next();
    assert!(ready.contains("READY=1\n"), "{ready:?}");
    for _ in 0..3 {
        assert_eq!(manager.next(), "WATCHDOG=1\n");
    }
}
