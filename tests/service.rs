//! What a service manager is told, and what it gives.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail loudly"
)]

mod support;

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use support::{Client, ClientOptions, PATIENCE, Server, StreamClient, int, nil};

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

/// Starts the server as a service manager does that has opened these two sockets: the second one is
/// passed if it has a name.
fn activate(folder: &Path, sockets: [OwnedFd; 2], names: &str, settings: &[&str]) -> Child {
    // A shell, because the variable holds the number of the process.
    let script = "LISTEN_PID=$$ exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >&2";
    let [first, second] = sockets;
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_fanal"), "--data"]).arg(folder.join("data"));
    command.args(settings.iter().flat_map(|setting| ["--set", setting]));
    command.env("LISTEN_FDS", names.split(':').count().to_string()).env("LISTEN_FDNAMES", names);
    command.stdin(Stdio::from(first)).stdout(Stdio::from(second)).stderr(Stdio::piped());
    command.current_dir(folder).spawn().unwrap()
}

/// Everything that the process says until it ends.
fn said(child: &mut Child) -> String {
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    text
}

fn terminate(child: &mut Child) -> String {
    rustix::process::kill_process(rustix::process::Pid::from_child(child), Signal::TERM).unwrap();
    let text = said(child);
    assert_eq!(child.wait().unwrap().code(), Some(0), "{text}");
    text
}

#[test]
fn connections_wait_for_a_server_whose_socket_the_manager_keeps() {
    let folder = tempfile::tempdir().unwrap();
    let websocket = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = websocket.local_addr().unwrap().port();
    let unix = UnixListener::bind(folder.path().join("socket")).unwrap();
    for round in 0_u8..3 {
        let sockets = [websocket.try_clone().unwrap().into(), unix.try_clone().unwrap().into()];
        // It is there before the server, in each round.
        let waiting = std::thread::spawn(move || Client::connect(port, ClientOptions::default()));
        let mut server = activate(folder.path(), sockets, "websocket:unix", &[]);
        let mut client = waiting.join().unwrap();
        let (verb, rnum) = if round == 0 { ("POST", 201) } else { ("PUT", 200) };
        client.expect(verb, &["a"], int(i64::from(round)), rnum);
        let mut other = StreamClient::unix(&folder.path().join("socket"));
        assert_eq!(other.expect("GET", &["a"], nil(), 200).payl, int(i64::from(round)));
        let text = terminate(&mut server);
        assert!(text.contains(&format!("ws://127.0.0.1:{port}/")), "{text}");
        assert!(text.contains("socket") && folder.path().join("socket").exists(), "{text}");
    }
}

#[test]
fn a_socket_without_a_name_of_ours_is_for_websocket_clients() {
    for names in ["", "fanal.socket", "unknown:admin"] {
        let folder = tempfile::tempdir().unwrap();
        let [websocket, admin] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let port = websocket.local_addr().unwrap().port();
        let admin_port = admin.local_addr().unwrap().port();
        let mut server = activate(folder.path(), [websocket.into(), admin.into()], names, &[]);
        let mut client = Client::connect(port, ClientOptions::default());
        client.expect("GET", &["missing"], nil(), 404);
        if names.contains("admin") {
            let ready = "GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
            assert!(support::http(admin_port, ready).ends_with("ready\n"));
        }
        terminate(&mut server);
    }
}

/// The server does not start with these sockets, and says why.
#[track_caller]
fn check_refused(address: &str, names: &str, settings: &[&str], part: &str) {
    let folder = tempfile::tempdir().unwrap();
    let sockets = [(); 2].map(|()| OwnedFd::from(TcpListener::bind(address).unwrap()));
    let mut server = activate(folder.path(), sockets, names, settings);
    let text = said(&mut server);
    assert_eq!(server.wait().unwrap().code(), Some(1), "{text}");
    assert!(text.contains(part), "{text}");
}

#[test]
fn sockets_that_are_no_use_are_refused() {
    check_refused(
        "127.0.0.1:0",
        "a:b",
        &[],
        "socket 2 of the service manager (\"b\") is one too many",
    );
    check_refused(
        "127.0.0.1:0",
        "websocket:unix",
        &[],
        "socket 2 of the service manager (\"unix\")",
    );
    check_refused("0.0.0.0:0", "websocket", &[], "auth.insecure = true if that is meant");
    check_refused("0.0.0.0:0", "admin:tcp", &[], "auth.insecure = true if that is meant");
}

/// Runs scripts/install for a folder, and expects this exit code; what it said.
fn install(root: &Path, arguments: &[&str], code: i32) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/install");
    let mut command = Command::new(script);
    let done = command.args(arguments).arg("--root").arg(root).output().unwrap();
    let said = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
    assert_eq!(done.status.code(), Some(code), "{arguments:?}: {said}");
    said
}

#[test]
fn it_is_installed_upgraded_and_removed_by_a_script() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let binary = ["--binary", env!("CARGO_BIN_EXE_fanal")];
    let said = install(root, &binary, 0);
    assert!(said.contains("fanal check-config"), "{said}");
    for file in [
        "usr/local/bin/fanal",
        "etc/systemd/system/fanal.service",
        "etc/fanal/fanal.toml",
        "usr/local/share/man/man1/fanal-stream.1",
        "usr/local/share/bash-completion/completions/fanal",
        "usr/local/share/zsh/site-functions/_fanal",
        "usr/local/share/fish/vendor_completions.d/fanal.fish",
        "usr/local/share/doc/fanal/operations.md",
        "var/lib/fanal",
    ] {
        assert!(root.join(file).exists(), "{file}");
    }
    let unit = fs::read_to_string(root.join("etc/systemd/system/fanal.service")).unwrap();
    assert!(unit.contains("ExecStart=/usr/local/bin/fanal --config /etc/fanal/fanal.toml"));
    let config = root.join("etc/fanal/fanal.toml");
    let mut checked = Command::new(root.join("usr/local/bin/fanal"));
    checked.arg("check-config").arg("--config").arg(&config);
    assert!(checked.status().unwrap().success());
    // An upgrade leaves what was changed.
    fs::write(&config, "# mine\n").unwrap();
    install(root, &binary, 0);
    assert_eq!(fs::read_to_string(&config).unwrap(), "# mine\n");
    let said = install(root, &["--uninstall"], 0);
    assert!(said.contains("configuration and data are still in"), "{said}");
    let left: Vec<_> = files(root);
    assert_eq!(left, [config]);
    install(root, &["--uninstall", "--purge"], 0);
    assert_eq!(files(root), Vec::<PathBuf>::new());
    install(root, &["--purge"], 2);
    install(root, &["--colour"], 2);
}

#[test]
fn what_the_containers_are_given_is_there_and_good() {
    let docker = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/docker");
    let compose = fs::read_to_string(docker.join("compose.yaml")).unwrap();
    let mounts = compose.lines().filter_map(|line| line.trim().strip_prefix("- ."));
    let sources: Vec<String> =
        mounts.map(|mount| format!(".{}", mount.split(':').next().unwrap())).collect();
    assert!(sources.len() >= 5, "{sources:?}");
    for source in sources {
        assert!(docker.join(&source).exists(), "{source}");
    }
    let checked = Command::new(env!("CARGO_BIN_EXE_fanal"))
        .args(["check-config", "--config"])
        .arg(docker.join("fanal.toml"))
        .env("FANAL_SERVER_BIND", "0.0.0.0")
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut rest = vec![folder.to_path_buf()];
    while let Some(folder) = rest.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { rest.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}
