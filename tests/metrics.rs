//! Metrics of the real server: each moves when the thing happens that it counts, both formats are
//! as they have to be, and what is written about them is so.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests fail loudly, and say themselves how long they wait"
)]

mod support;

#[path = "metrics/connections.rs"]
mod connections;
#[path = "metrics/documents.rs"]
mod documents;
#[path = "metrics/scrape.rs"]
mod scrape;

use scrape::{Scrape, expect, until};
use support::{Client, Request, Server, array, bin, int, nil};

const ADMIN: &str = "admin.enabled = true\nadmin.port = 0\n";

/// A server with further settings.
fn server(settings: &str) -> Server {
    Server::start_with(&format!("{ADMIN}{settings}"))
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Content type and text for a request with this Accept.
fn ask(server: &Server, accept: &str) -> (String, String) {
    let answer = server.admin_answer("/metrics", &format!("Accept: {accept}\r\n"));
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    let kind = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap();
    (kind.to_owned(), text.to_owned())
}

#[test]
fn both_formats_tell_the_same() {
    let server = server("");
    // The second worker may not have begun yet.
    until(&server, "both workers", |scrape| {
        scrape.get("fanal_event_loop_lag_seconds_count{worker=\"1\"}") > 0.0
    });
    let (kind, text) = ask(&server, "text/plain");
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    let old = Scrape::parse(&text);
    let (kind, text) = ask(&server, OPEN_METRICS);
    assert_eq!(kind, OPEN_METRICS);
    assert!(text.ends_with("\n# EOF\n"), "{text}");
    let new = Scrape::parse(&text);
    let names = |scrape: &Scrape| -> Vec<String> {
        scrape.samples().map(|(name, _)| name.to_owned()).collect()
    };
    assert_eq!(names(&old), names(&new), "{text}");
    for (family, kind) in &old.types {
        // In the newer format a counter is named without what each of its samples ends in.
        let family = family.strip_suffix("_total").unwrap_or(family);
        assert_eq!(new.types.get(family), Some(kind), "{family}");
    }
    assert_eq!(ask(&server, "text/html, */*;q=0.1").0, "text/plain; version=0.0.4; charset=utf-8");
}

/// The number of requests for a verb that were answered so.
fn answered(verb: &str, status: i64) -> String {
    format!("fanal_requests_total{{verb=\"{verb}\",status=\"{status}\"}}")
}

#[test]
fn requests_are_counted_by_verb_and_code() {
    let server = server("");
    let mut client = server.client();
    let (a, b, ab) = (["d", "a"], ["d", "b"], array(&["d", "a"]));
    for (verb, path, payl, rnum) in [
        ("MKDIR", &["d"][..], nil(), 201),
        ("CREATE", &a, nil(), 201),
        ("POST", &b, int(1), 201),
        ("POST", &b, int(2), 200),
        ("PUT", &a, int(3), 200),
        ("PUT", &["missing"], int(3), 404),
        ("GET", &a, nil(), 200),
        ("GET", &["missing"], nil(), 404),
        ("LIST", &["d"], nil(), 200),
        ("LINK", &b, ab.clone(), 200),
        ("LINK", &a, array(&["d", "b"]), 409),
        ("UNLINK", &b, ab, 200),
        ("STREAM", &a, nil(), 200),
        ("STOP", &["d", "b"], nil(), 404),
        ("DELETE", &["d"], nil(), 200),
        ("FETCH", &a, nil(), 405),
    ] {
        client.expect(verb, path, payl, rnum);
    }
    client.send_message(&Request { path: None, ..Request::new("GET", &[]) }.encode());
    client.send_message(&[0x81, 0xc1]);
    let scrape = expect(&server, &answered("none", 400), 1.0);
    for (verb, status, count) in [
        ("MKDIR", 201, 1.0),
        ("CREATE", 201, 1.0),
        ("POST", 201, 1.0),
        ("POST", 200, 1.0),
        ("PUT", 200, 1.0),
        ("PUT", 404, 1.0),
        ("GET", 200, 1.0),
        ("GET", 404, 1.0),
        ("GET", 400, 1.0),
        ("LIST", 200, 1.0),
        ("LINK", 200, 1.0),
        ("LINK", 409, 1.0),
        ("UNLINK", 200, 1.0),
        ("STREAM", 200, 1.0),
        ("STOP", 404, 1.0),
        ("DELETE", 200, 1.0),
        ("none", 405, 1.0),
    ] {
        assert_eq!(scrape.get(&answered(verb, status)), count, "{verb} {status}");
    }
    assert_eq!(scrape.get("fanal_requests_begun_total"), 18.0);
    assert_eq!(scrape.sum("fanal_requests_total"), 18.0);
    assert_eq!(scrape.get("fanal_requests_refused_total{reason=\"malformed\"}"), 1.0);
}

#[test]
fn answers_that_nobody_waits_for_are_counted_as_well() {
    let server = server("");
    let mut client = server.client();
    client.expect("POST", &["a"], int(0), 201);
    let put = Request::new("PUT", &["a"]).payl(int(1));
    client.send_all(&vec![put; 500]);
    client.reset();
    let scrape = expect(&server, "fanal_connections_open", 0.0);
    // Those that came before the end of the connection was seen.
    let begun = scrape.get("fanal_requests_begun_total");
    assert_eq!(scrape.sum("fanal_requests_total"), begun);
}

#[test]
fn one_request_in_64_is_timed_whatever_its_verb() {
    let server = server("");
    let mut client = server.client();
    client.expect("POST", &["a"], int(0), 201);
    for number in 0..640 {
        client.expect("PUT", &["a"], int(number), 200);
    }
    for _ in 0..128 {
        client.expect("GET", &["a"], nil(), 200);
    }
    let scrape = Scrape::of(&server);
    let count = |verb: &str| {
        scrape.get(&format!("fanal_request_duration_seconds_count{{verb=\"{verb}\"}}"))
    };
    assert_eq!((count("PUT"), count("GET")), (10.0, 2.0));
    let sum = scrape.get("fanal_request_duration_seconds_sum{verb=\"PUT\"}");
    assert!(sum > 0.0 && sum < 10.0, "{sum}");
    let all = "fanal_request_duration_seconds_bucket{verb=\"PUT\",le=\"inf\"}";
    assert_eq!(scrape.get(all), 10.0);
}

#[test]
fn updates_are_counted_as_they_come_go_and_are_skipped() {
    let server = server("stream.buffer = 4\nlink.buffer = 1");
    let mut writer = server.client();
    writer.expect("POST", &["a"], int(0), 201);
    writer.expect("POST", &["b"], int(0), 201);
    writer.expect("LINK", &["b"], array(&["a"]), 200);
    let mut watcher = server.client();
    watcher.expect("STREAM", &["b"], nil(), 200);
    for number in 0..10 {
        writer.expect("PUT", &["a"], int(number), 200);
    }
    let scrape = until(&server, "20 updates", |scrape| {
        scrape.get("fanal_updates_received_total") >= 20.0
            && scrape.get("fanal_updates_delivered_total") >= 10.0
    });
    assert_eq!(scrape.get("fanal_updates_received_total"), 20.0);
    assert_eq!(scrape.get("fanal_links"), 1.0);
    // A client that does not read, and values that no socket holds so many of.
    let large = bin(&[7; 400_000]);
    writer.expect("POST", &["large"], large.clone(), 201);
    let mut slow = server.client();
    slow.expect("STREAM", &["large"], nil(), 200);
    let skipped = "fanal_updates_skipped_total{reason=\"stream_buffer_bytes\"}";
    let mut written = 0;
    while Scrape::of(&server).get(skipped) == 0.0 {
        writer.expect("PUT", &["large"], large.clone(), 200);
        written += 1;
        assert!(written < 200, "nothing is skipped");
    }
    let scrape = Scrape::of(&server);
    assert!(scrape.get("fanal_outbox_bytes") >= 400_000.0);
    assert_eq!(scrape.get("fanal_streams"), 2.0);
    drop(slow);
    let scrape = expect(&server, "fanal_streams", 1.0);
    assert_eq!(scrape.get("fanal_outbox_bytes"), 0.0);
}

/// Writes small values until a client that does not read has lost some.
#[track_caller]
fn skip(settings: &str, reason: &str) {
    let server = server(settings);
    let mut writer = server.client();
    let value = bin(&[7; 2000]);
    writer.expect("POST", &["a"], value.clone(), 201);
    let mut slow = server.client();
    slow.expect("STREAM", &["a"], nil(), 200);
    let name = format!("fanal_updates_skipped_total{{reason=\"{reason}\"}}");
    let puts = vec![Request::new("PUT", &["a"]).payl(value); 200];
    let mut rounds = 0;
    while Scrape::of(&server).get(&name) == 0.0 {
        writer.send_all(&puts);
        (0..200).for_each(|_| assert_eq!(writer.next_answer().rnum, 200));
        rounds += 1;
        assert!(rounds < 200, "nothing is skipped");
    }
}

#[test]
fn each_bound_on_updates_is_a_reason_of_its_own() {
    skip("stream.buffer = 4", "stream_buffer");
    skip("stream.buffer = 65536\nstream.buffer_bytes = 10000", "stream_buffer_bytes");
    skip("stream.buffer = 65536\noutbox.updates_bytes_max = 10000", "outbox_updates_bytes");
}

#[test]
fn resources_are_counted_by_what_they_are() {
    let server = server("resource.idle_timeout = \"50ms\"\nresource.resident_bytes_max = 40000");
    let mut client = server.client();
    let state = |state: &str| format!("fanal_resources{{state=\"{state}\"}}");
    client.expect("POST", &["d", "e", "a"], int(1), 201);
    client.expect("PUT", &["d", "e", "a"], int(1), 200);
    let scrape = Scrape::of(&server);
    assert_eq!(scrape.get("fanal_directories"), 2.0);
    assert_eq!(scrape.get(&state("active")) + scrape.get(&state("passive")), 1.0);
    expect(&server, &state("passive"), 1.0);
    for number in 0..20 {
        client.expect("POST", &["r", &number.to_string()], bin(&[1; 4000]), 201);
    }
    let left = "fanal_values_left_to_store_total";
    let scrape = until(&server, "values that left", |scrape| {
        scrape.get(&state("swapped")) > 5.0 && scrape.get(left) >= scrape.get(&state("swapped"))
    });
    let swapped = scrape.get(&state("swapped"));
    assert_eq!(scrape.sum("fanal_resources"), 21.0);
    assert!(scrape.get("fanal_values_resident_bytes") < scrape.get("fanal_values_bytes"));
    for number in 0..20 {
        client.expect("GET", &["r", &number.to_string()], nil(), 200);
    }
    let scrape = Scrape::of(&server);
    assert!(scrape.get("fanal_values_brought_back_total") >= swapped);
    assert!(scrape.get("fanal_store_read_duration_seconds_count") >= swapped);
    client.expect("DELETE", &["r"], nil(), 200);
    client.expect("DELETE", &["d", "e"], nil(), 200);
    let scrape = Scrape::of(&server);
    assert_eq!((scrape.sum("fanal_resources"), scrape.get("fanal_directories")), (0.0, 1.0));
    assert_eq!(scrape.get(&state("swapped")), 0.0);
}

#[test]
fn an_actor_counts_while_it_runs() {
    let server = server("");
    let mut client = server.client();
    client.expect("POST", &["a"], int(1), 201);
    client.expect("PUT", &["a"], int(1), 200);
    assert_eq!(Scrape::of(&server).get("fanal_resources{state=\"active\"}"), 1.0);
    client.expect("DELETE", &["a"], nil(), 200);
    expect(&server, "fanal_resources{state=\"active\"}", 0.0);
}

#[test]
fn waits_for_each_kind_of_actor_are_measured() {
    let server = server("");
    let mut clients: Vec<Client> = (0..4).map(|_| server.client()).collect();
    clients[0].expect("POST", &["a"], int(0), 201);
    // Structural requests behind each other wait in the session, for the directory and for the
    // supervisor.
    let many: Vec<Request> =
        (0..200).map(|number| Request::new("CREATE", &["d", &number.to_string()])).collect();
    clients[1].send_all(&many);
    (0..many.len()).for_each(|_| assert_eq!(clients[1].next_answer().rnum, 201));
    // Connections of both workers write to one resource, whose actor is on one of them.
    let puts = vec![Request::new("PUT", &["a"]).payl(int(1)); 1000];
    for client in &mut clients {
        client.send_all(&puts);
    }
    for client in &mut clients {
        (0..puts.len()).for_each(|_| assert_eq!(client.next_answer().rnum, 200));
    }
    let scrape =
        until(&server, "all mailboxes empty", |scrape| scrape.sum("fanal_mailbox_messages") == 0.0);
    let count =
        |actor: &str| scrape.get(&format!("fanal_mailbox_wait_seconds_count{{actor=\"{actor}\"}}"));
    assert_eq!((count("directory"), count("supervisor")), (201.0, 201.0));
    assert!(count("session") >= 100.0, "{}", count("session"));
    assert!(count("resource") >= 1.0, "{}", count("resource"));
    assert!(scrape.get("fanal_requests_held_back_total") >= 100.0);
}

#[test]
fn saves_are_seen() {
    let mut server = server("snapshot.interval = \"1h\"");
    let mut client = server.client();
    let before = Scrape::of(&server);
    assert_eq!(before.get("fanal_store_last_save_timestamp_seconds"), 0.0);
    client.expect("POST", &["a"], bin(&[1; 3000]), 201);
    client.expect("PUT", &["a"], bin(&[2; 3000]), 200);
    let scrape = Scrape::of(&server);
    assert_eq!(scrape.get("fanal_store_unsaved_resources"), 1.0);
    assert_eq!(scrape.get("fanal_store_append_duration_seconds_count"), 1.0);
    assert_eq!(scrape.get("fanal_store_save_duration_seconds_count"), 0.0);
    assert_eq!(server.api("POST", "snapshot").0, 200);
    let scrape = Scrape::of(&server);
    assert_eq!(scrape.get("fanal_store_unsaved_resources"), 0.0);
    assert_eq!(scrape.get("fanal_store_save_duration_seconds_count"), 1.0);
    assert!(scrape.get("fanal_store_saved_bytes_total") >= 3000.0);
    assert_eq!(scrape.get("fanal_store_saved_values_total"), 1.0);
    let started = scrape.get("process_start_time_seconds");
    let saved = scrape.get("fanal_store_last_save_timestamp_seconds");
    // The start is told in hundredths of a second after a boot in whole seconds.
    assert!(saved >= started - 2.0 && saved < started + 100.0, "{saved} {started}");
    assert_eq!(scrape.sum("fanal_store_errors_total"), 0.0);
    assert_eq!(scrape.get("fanal_store_durable"), 1.0);
    assert!(server.stop().success());
}

#[test]
fn reloads_are_counted_by_outcome() {
    let server = server("");
    assert_eq!(server.api("POST", "reload").0, 200);
    expect(&server, "fanal_reloads_total{outcome=\"success\"}", 1.0);
    server.configure(&format!("{ADMIN}no.such_key = 1"));
    assert_eq!(server.api("POST", "reload").0, 409);
    // The file is looked at as well, and seen to have changed once.
    let scrape = until(&server, "a failure", |scrape| {
        scrape.get("fanal_reloads_total{outcome=\"failure\"}") >= 1.0
    });
    assert!(scrape.get("fanal_reloads_total{outcome=\"failure\"}") <= 2.0);
}

const USERS: &str = "\
auth.mode = \"users\"
auth.users = [\
    { name = \"root\", token = \"root-token\", admin = true }, \
    { name = \"ann\", token = \"ann-token\", roles = [\"student\"] }]
auth.failures_max = 2
";

#[test]
fn credentials_are_counted_by_who_knew_them_and_the_outcome() {
    let server = server(USERS);
    let attempts = |provider: &str, outcome: &str| {
        format!("fanal_auth_attempts_total{{provider=\"{provider}\",outcome=\"{outcome}\"}}")
    };
    let mut root = server.client_as("root", "root-token");
    root.expect("POST", &["a"], int(1), 201);
    root.expect("GET", &["a"], nil(), 200);
    assert_eq!(Scrape::of(&server).get(&attempts("users", "accepted")), 1.0);
    assert_eq!(server.api("POST", "reload").0, 200);
    root.expect("GET", &["a"], nil(), 200);
    let scrape = Scrape::of(&server);
    assert_eq!(scrape.get(&attempts("users", "accepted")), 1.0);
    assert_eq!(scrape.get(&attempts("users", "confirmed")), 1.0);
    server.client_as("ann", "ann-token").expect("PUT", &["a"], int(2), 403);
    for number in 0..3 {
        server.client_as("ann", &format!("wrong {number}")).expect("GET", &["a"], nil(), 401);
    }
    let held = server.client_as("ann", "wrong again").request("GET", &["a"], nil());
    assert_eq!(held.rnum, 429);
    let scrape = Scrape::of(&server);
    assert_eq!(scrape.get(&attempts("none", "refused")), 3.0);
    assert_eq!(scrape.get(&attempts("none", "held_off")), 1.0);
    for (reason, count) in [("credentials", 3.0), ("credentials_held_off", 1.0), ("forbidden", 1.0)]
    {
        let name = format!("fanal_requests_refused_total{{reason=\"{reason}\"}}");
        assert_eq!(scrape.get(&name), count, "{reason}");
    }
    assert_eq!(scrape.get(&answered("GET", 401)), 3.0);
    assert_eq!(scrape.get(&answered("GET", 429)), 1.0);
    assert_eq!(scrape.get(&answered("PUT", 403)), 1.0);
}

#[test]
fn each_worker_says_how_late_it_is() {
    let server = server("server.workers = 3");
    let count =
        |worker: usize| format!("fanal_event_loop_lag_seconds_count{{worker=\"{worker}\"}}");
    let scrape = until(&server, "a look at each worker", |scrape| {
        (0..3).all(|worker| scrape.get(&count(worker)) >= 2.0)
    });
    assert_eq!(scrape.get(&count(3)), 0.0);
}

#[test]
fn the_process_is_told_as_by_every_exporter() {
    let server = server("");
    let scrape = Scrape::of(&server);
    for name in [
        "process_resident_memory_bytes",
        "process_virtual_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_threads",
        "process_start_time_seconds",
    ] {
        assert!(scrape.get(name) > 0.0, "{name}");
    }
    let memory = server.rss_kb() as f64 * 1024.0;
    let said = scrape.get("process_resident_memory_bytes");
    assert!((said - memory).abs() < memory / 2.0, "{said} {memory}");
    let open = scrape.get("process_open_fds");
    let _clients: Vec<Client> = (0..5).map(|_| server.client()).collect();
    until(&server, "five more sockets", |scrape| scrape.get("process_open_fds") >= open + 5.0);
    until(&server, "CPU time", |scrape| scrape.get("process_cpu_seconds_total") > 0.0);
    let version = format!("fanal_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(scrape.get(&version), 1.0);
}
