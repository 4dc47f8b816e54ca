//! What goes wrong under the embedded store, on the real server: a disk that is full and comes
//! back, files that are damaged, cut off, missing or not to be written, and a restart under load.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests fail loudly, and they measure the time themselves"
)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use support::{Server, StreamClient};
use support::{bin, int, nil, text};

const QUICK: &str = "snapshot.interval = \"20ms\"\nstore.backup_interval = \"50ms\"";

// ---- damaged files

/// A server that was stopped, with a backup in which `b` is missing and `a` is older.
fn stopped() -> Server {
    let mut server = Server::start_with(QUICK);
    server.client().expect("POST", &["a"], text("backed up"), 201);
    server.wait_for_line("backed up 1 resources");
    server.stop();
    server.configure("snapshot.interval = \"20ms\"");
    server.start_again();
    server.client().expect("PUT", &["a"], text("later"), 200);
    server.client().expect("POST", &["b"], bin(&[5; 5000]), 201);
    server.stop();
    server
}

fn database(server: &Server) -> PathBuf {
    server.data().join("fanal.redb")
}

fn set_aside(server: &Server) -> Vec<PathBuf> {
    let files = fs::read_dir(server.data()).unwrap().map(|file| file.unwrap().path());
    files.filter(|path| path.display().to_string().contains("fanal.redb.broken-")).collect()
}

#[track_caller]
fn check_damage(what: &str, damage: impl FnOnce(&mut Vec<u8>)) {
    let mut server = stopped();
    let mut bytes = fs::read(database(&server)).unwrap();
    damage(&mut bytes);
    fs::write(database(&server), &bytes).unwrap();

    let (status, output) = server.run_to_end_with(&["--strict"]);
    assert_eq!(status.code(), Some(1), "{what}: {output}");
    assert!(output.contains("fanal.redb is damaged"), "{what}: {output}");
    assert!(output.contains("store.strict"), "{what}: {output}");
    assert!(set_aside(&server).is_empty(), "{what}: it is left where it is");

    server.start_again();
    let said = server.wait_for_line("fanal.redb is damaged");
    assert!(said.contains("going on from the backup of 20"), "{what}: {said}");
    assert!(said.contains("changes since then are lost"), "{what}: {said}");
    let mut client = server.client();
    assert_eq!(client.expect("GET", &["a"], nil(), 200).payl, text("backed up"), "{what}");
    client.expect("GET", &["b"], nil(), 404);
    let [aside] = &set_aside(&server)[..] else { panic!("{what}: nothing is set aside") };
    assert!(said.contains(&aside.display().to_string()), "{what}: {said}");
    // And it goes on as if nothing had been.
    client.expect("POST", &["b"], int(1), 201);
    server.kill();
    server.start_again();
    server.client().expect("GET", &["b"], nil(), 200);
    assert_eq!(set_aside(&server).len(), 1, "{what}");
}

#[test]
fn a_damaged_database_is_set_aside_for_the_backup_or_refused_if_that_is_wanted() {
    check_damage("cut in half", |bytes| bytes.truncate(bytes.len() / 2));
    check_damage("empty", Vec::clear);
    check_damage("a text", |bytes| *bytes = b"something else".to_vec());
    check_damage("a changed byte in a value", |bytes| {
        let places = 0..bytes.len() - 4000;
        let places: Vec<usize> = places.filter(|at| bytes[*at..*at + 4000] == [5; 4000]).collect();
        places.iter().for_each(|at| bytes[at + 2000] = 6);
    });
    check_damage("a torn last page", |bytes| {
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        let page = used / 4096 * 4096;
        bytes[page..].fill(0);
    });
}

#[test]
fn a_missing_database_is_replaced_by_the_backup() {
    let mut server = stopped();
    fs::remove_file(database(&server)).unwrap();
    server.start_again();
    server.wait_for_line("fanal.redb is missing; going on from the backup of 20");
    assert_eq!(server.client().expect("GET", &["a"], nil(), 200).payl, text("backed up"));
}

#[test]
fn a_directory_that_cannot_be_written_is_refused() {
    if rustix::process::geteuid().is_root() {
        // What root may not write: no directory at all.
        let server = Server::prepare("store.directory = \"/proc/fanal\"");
        let (status, output) = server.run_to_end();
        assert_eq!(status.code(), Some(1), "{output}");
        assert!(output.contains("cannot create /proc/fanal"), "{output}");
        return;
    }
    let server = stopped();
    fs::set_permissions(server.data(), fs::Permissions::from_mode(0o500)).unwrap();
    let (status, output) = server.run_to_end();
    fs::set_permissions(server.data(), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(status.code(), Some(1), "{output}");
    assert!(output.contains("allow the broker's user to write there"), "{output}");
}

// ---- a full disk

const DISK: &str = "FANAL_TEST_DISK";

/// A small disk of its own for a command.
fn on_small_disk(disk: &Path, command: &str) -> Command {
    let mut isolated = Command::new("unshare");
    let script = format!("mount -t tmpfs -o size=4m none \"${DISK}\" && exec {command}");
    isolated.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]).env(DISK, disk);
    isolated
}

#[test]
fn a_full_disk_stops_nothing_and_what_was_acknowledged_is_on_it_when_there_is_room() {
    let disk = tempfile::tempdir().unwrap();
    let may_mount = on_small_disk(disk.path(), "true").output();
    if !may_mount.is_ok_and(|output| output.status.success()) {
        eprintln!("not tested: this machine gives no disks to tests");
        return;
    }
    let this = std::env::current_exe().unwrap();
    let output = on_small_disk(disk.path(), "\"$0\" --exact \"$1\" --ignored --nocapture")
        .args([this.as_os_str(), "inside_a_small_disk".as_ref()])
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "needs a small disk; the test above starts it on one"]
fn inside_a_small_disk() {
    let disk = PathBuf::from(std::env::var_os(DISK).unwrap());
    let settings = format!(
        "store.directory = {disk:?}\nsnapshot.interval = \"20ms\"\nadmin.enabled = true\n\
         admin.port = 0"
    );
    let mut server = Server::start_with(&settings);
    let mut client = server.client();
    client.expect("POST", &["kept"], int(0), 201);
    assert_eq!(server.admin("/readyz").0, 200);

    let filler = disk.join("filler");
    while fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&filler)
        .and_then(|mut file| std::io::Write::write_all(&mut file, &[0; 4096]))
        .is_ok()
    {}
    // Values are taken, structure is not acknowledged, and everything is served from memory.
    let big = bin(&[7; 300_000]);
    client.expect("PUT", &["kept"], big.clone(), 200);
    server.wait_for_line("no space left on device");
    let made: Vec<i64> =
        (0..5).map(|n| client.request("POST", &[&n.to_string()], big.clone()).rnum).collect();
    assert!(made.contains(&500), "{made:?}");
    assert_eq!(client.expect("GET", &["kept"], nil(), 200).payl, big);
    assert_eq!(server.admin("/readyz").0, 503);
    assert_eq!(server.metric("fanal_store_durable"), 0);
    for operation in ["save", "append"] {
        let errors = format!("fanal_store_errors_total{{operation=\"{operation}\"}}");
        assert!(server.metric(&errors) > 0, "{operation}");
    }

    fs::remove_file(&filler).unwrap();
    server.wait_for_line("the disk is back");
    client.expect("POST", &["later"], int(1), 201);
    assert_eq!(server.admin("/readyz").0, 200);
    assert_eq!(server.output().matches("no space left").count(), 1, "{}", server.output());
    server.kill();
    server.start_again();
    let mut client = server.client();
    assert_eq!(client.expect("GET", &["kept"], nil(), 200).payl, big);
    for (n, rnum) in made.iter().enumerate() {
        let found = client.request("GET", &[&n.to_string()], nil()).rnum;
        assert_eq!(found, 200, "{n} was made, and answered {rnum}");
    }
    client.expect("GET", &["later"], nil(), 200);
}

// ---- a restart under load

/// What a server that stops says to who comes on a door without frames.
const STOPPING: i64 = 503;

#[test]
fn after_a_restart_streams_of_the_same_paths_go_on_with_the_last_value() {
    const WATCHERS: usize = 20;
    let mut server = Server::start_with("unix.path = \"fanal.sock\"");
    server.client().expect("POST", &["live"], int(0), 201);
    let socket = server.folder().join("fanal.sock");
    let (acknowledged, over) = (AtomicI64::new(0), AtomicBool::new(false));
    let seen: Vec<AtomicI64> = (0..WATCHERS).map(|_| AtomicI64::new(0)).collect();
    let is_over = || over.load(Ordering::SeqCst);
    let mut all_went_on = true;
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0;
            while !is_over() {
                let Some(mut client) = StreamClient::try_unix(&socket) else { continue };
                while !is_over() {
                    number += 1;
                    let answer = client.try_request("PUT", &["live"], int(number));
                    let Some(answer) = answer.filter(|answer| answer.rnum != STOPPING) else {
                        break;
                    };
                    assert_eq!(answer.rnum, 200);
                    acknowledged.store(number, Ordering::SeqCst);
                }
            }
        });
        for seen in &seen {
            let (socket, acknowledged, is_over) = (&socket, &acknowledged, &is_over);
            scope.spawn(move || {
                while !is_over() {
                    let before = acknowledged.load(Ordering::SeqCst);
                    let Some(mut client) = StreamClient::try_unix(socket) else { continue };
                    let mut answer = client.try_request("STREAM", &["live"], nil());
                    if let Some(first) = answer.as_ref().filter(|first| first.rnum != STOPPING) {
                        assert!(first.number() >= before, "{} after {before}", first.number());
                    }
                    while let Some(update) = answer.filter(|a| a.rnum != STOPPING && !is_over()) {
                        seen.store(update.number(), Ordering::SeqCst);
                        answer = client.try_next();
                    }
                }
            });
        }
        for _ in 0..5 {
            let before = acknowledged.load(Ordering::SeqCst);
            let goes_on = |seen: &AtomicI64| seen.load(Ordering::SeqCst) > before + 10;
            let since = Instant::now();
            while !seen.iter().all(goes_on) && since.elapsed() < Duration::from_secs(30) {
                thread::yield_now();
            }
            all_went_on &= seen.iter().all(goes_on);
            server.restart();
        }
        over.store(true, Ordering::SeqCst);
    });
    assert!(all_went_on, "a stream did not come back");
}
