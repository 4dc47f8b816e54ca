//! The file of the unix door: who may connect, what is replaced, what is left alone.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};

use super::support::{Server, StreamClient, nil};

const SOCKET: &str = "fanal.sock";

fn start(settings: &str) -> Server {
    Server::start_with(&format!("unix.path = \"{SOCKET}\"\n{settings}"))
}

fn works(server: &Server) {
    StreamClient::unix(&server.folder().join(SOCKET)).expect("GET", &["missing"], nil(), 404);
}

/// A server with these settings does not start, and says so in one sentence with these parts.
#[track_caller]
fn check_refusal(server: &Server, parts: &[&str]) {
    let (status, output) = server.run_to_end();
    assert!(!status.success(), "{output}");
    let lines: Vec<&str> = output.lines().collect();
    let [sentence] = lines[..] else { panic!("not one sentence:\n{output}") };
    for part in parts {
        assert!(sentence.contains(part), "no {part:?} in: {sentence}");
    }
}

#[test]
fn the_mode_is_that_of_the_settings() {
    for (setting, mode) in [
        ("", 0o660),
        ("unix.mode = \"0600\"", 0o600),
        ("unix.mode = \"0666\"", 0o666),
        ("unix.mode = \"0660\"", 0o660),
    ] {
        let server = start(setting);
        let file = fs::metadata(server.folder().join(SOCKET)).unwrap();
        assert!(file.file_type().is_socket());
        assert_eq!(file.permissions().mode() & 0o7777, mode, "{setting}");
        works(&server);
    }
}

#[test]
fn the_owner_is_that_of_the_settings() {
    // Only the administrator may give a file away; everybody else may give it to himself.
    let own = rustix::process::getuid().as_raw();
    let group = rustix::process::getgid().as_raw();
    let (owner, group) = if own == 0 { (4242, 4343) } else { (own, group) };
    let server = start(&format!("unix.owner = \"{owner}\"\nunix.group = \"{group}\""));
    let file = fs::metadata(server.folder().join(SOCKET)).unwrap();
    assert_eq!((file.uid(), file.gid()), (owner, group));
    works(&server);
    let nobody = Server::prepare("unix.path = \"x\"\nunix.owner = \"no such user\"");
    check_refusal(&nobody, &["unix.owner", "no such user"]);
    let nobody = Server::prepare("unix.path = \"x\"\nunix.group = \"no such group\"");
    check_refusal(&nobody, &["unix.group", "no such group"]);
}

#[test]
fn a_socket_that_a_dead_server_left_is_replaced() {
    let mut server = start("");
    server.kill();
    let path = server.folder().join(SOCKET);
    assert!(path.exists() && UnixStream::connect(&path).is_err());
    server.start_again();
    works(&server);
}

#[test]
fn a_socket_in_use_is_left_alone() {
    let first = start("");
    let path = first.folder().join(SOCKET);
    let second = Server::prepare(&format!("unix.path = {path:?}"));
    check_refusal(&second, &["fanal.sock is in use; is another server running? unix.path takes"]);
    works(&first);
}

#[test]
fn the_file_is_gone_after_a_stop() {
    let mut server = start("");
    let path = server.folder().join(SOCKET);
    assert!(path.exists());
    assert!(server.stop().success());
    assert!(!path.exists());
    server.start_again();
    works(&server);
}

#[test]
fn another_file_in_its_place_is_left_alone() {
    let server = Server::prepare(&format!("unix.path = \"{SOCKET}\""));
    let path = server.folder().join(SOCKET);
    let says = "fanal.sock is there and no socket; unix.path is another file, or remove this one";
    fs::write(&path, "mine").unwrap();
    check_refusal(&server, &[says]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    fs::remove_file(&path).unwrap();

    fs::create_dir(&path).unwrap();
    check_refusal(&server, &[says]);
    assert!(path.is_dir());
    fs::remove_dir(&path).unwrap();

    // Not even to a socket that nobody listens on does a link lead: it may be anybody's.
    let other = server.folder().join("other.sock");
    drop(UnixListener::bind(&other).unwrap());
    symlink(&other, &path).unwrap();
    check_refusal(&server, &[says]);
    assert!(other.exists() && path.is_symlink());
}

#[test]
fn a_path_that_cannot_be_a_socket_is_refused() {
    let nowhere = Server::prepare("unix.path = \"missing/fanal.sock\"");
    check_refusal(&nowhere, &["cannot listen on missing/fanal.sock"]);
    let long = "x".repeat(200);
    let long = Server::prepare(&format!("unix.path = \"{long}\""));
    check_refusal(&long, &["cannot listen on xxx"]);
}
