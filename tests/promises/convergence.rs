//! Convergence: every stream ends on the last value, however slow its client was, without the
//! client asking.

use std::collections::HashMap;

use rmpv::Value;

use crate::support::{Answer, Client, ClientOptions, Request, Server, nil, to_bytes};

/// Requests on their way at a time.
const BATCH: usize = 50;

/// What is written while a client does not read.
struct Load {
    settings: &'static str,
    resources: usize,
    streams_each: usize,
    /// Values that each resource gets.
    values: usize,
    bytes: usize,
    /// Updates that the client reads after each batch; 0 if it does not read at all meanwhile.
    read_each_batch: usize,
}

impl Default for Load {
    fn default() -> Self {
        Load {
            settings: "",
            resources: 1,
            streams_each: 1,
            values: 0,
            bytes: 1900,
            read_each_batch: 0,
        }
    }
}

/// What a client has seen of its streams.
#[derive(Default)]
struct Streams {
    newest: HashMap<Vec<u8>, usize>,
    updates: usize,
}

impl Streams {
    #[track_caller]
    fn take(&mut self, update: &Answer) {
        assert_eq!((update.rnum, update.warnings.len()), (200, 0), "{update:?}");
        let newest = self.newest.get_mut(&update.reid).expect("an update has its stream's REID");
        let number = number_of(update);
        assert!(number > *newest, "{number} after {newest}");
        *newest = number;
        self.updates += 1;
    }

    fn all_have(&self, number: usize) -> bool {
        self.newest.values().all(|newest| *newest == number)
    }
}

/// Writes this load past a client that is behind, lets it read, and expects every stream to rise
/// to the last value. Returns how much memory the server took for it, in KiB.
#[track_caller]
fn check(load: &Load) -> u64 {
    let server = Server::start_with(load.settings);
    let mut writer = server.client();
    let mut reader = server.client_with(slow());
    let mut streams = Streams::default();
    for resource in 0..load.resources {
        let name = resource.to_string();
        writer.expect("POST", &[&name], numbered(0, load.bytes), 201);
        for _ in 0..load.streams_each {
            let first = reader.expect("STREAM", &[&name], nil(), 200);
            streams.newest.insert(first.reid.clone(), number_of(&first));
        }
    }
    let before = server.peak_rss_kb();
    for first in (1..=load.values).step_by(BATCH) {
        write(&mut writer, load, first..=load.values.min(first + BATCH - 1));
        for _ in 0..load.read_each_batch {
            streams.take(&reader.next_answer());
        }
    }
    let grown = server.peak_rss_kb() - before;
    while !streams.all_have(load.values) {
        streams.take(&reader.next_answer());
    }
    assert_eq!(reader.barrier(), [], "nothing follows the last value");
    let written = load.values * load.resources * load.streams_each;
    assert!(streams.updates < written, "the client was never behind, so nothing is shown");
    grown
}

/// A client with a small window, so that the server notices soon that it does not read.
fn slow() -> ClientOptions {
    ClientOptions::default().receive_buffer_bytes(4096)
}

fn write(writer: &mut Client, load: &Load, numbers: impl Iterator<Item = usize>) {
    let mut requests = Vec::new();
    for number in numbers {
        for resource in 0..load.resources {
            let put = Request::new("PUT", &[&resource.to_string()]);
            requests.push(put.payl(numbered(number, load.bytes)));
        }
    }
    writer.send_all(&requests);
    for _ in requests {
        assert_eq!(writer.next_answer().rnum, 200);
    }
}

fn numbered(number: usize, bytes: usize) -> Vec<u8> {
    let filler = Value::Binary(vec![0xa5; bytes]);
    to_bytes(&Value::Array(vec![Value::from(number), filler]))
}

fn number_of(answer: &Answer) -> usize {
    answer.value()[0]
        .as_u64()
        .and_then(|number| number.try_into().ok())
        .expect("a number comes first")
}

#[test]
fn a_client_that_read_none_of_5000_values_ends_on_the_last_one() {
    check(&Load { values: 5000, ..Load::default() });
}

#[test]
fn a_client_that_read_none_of_5000_values_ends_on_the_last_one_with_a_buffer_of_one() {
    check(&Load { values: 5000, settings: "stream.buffer = 1", ..Load::default() });
}

#[test]
fn a_client_that_read_none_of_300_large_values_ends_on_the_last_one_and_costs_little_memory() {
    let grown = check(&Load { values: 300, bytes: 64 * 1024, ..Load::default() });
    // All of the values together are 19 MiB.
    assert!(grown < 8 * 1024, "the server has grown by {grown} KiB");
}

#[test]
fn a_client_that_reads_more_slowly_than_values_come_ends_on_the_last_one() {
    check(&Load { values: 10_000, read_each_batch: 2, ..Load::default() });
}

#[test]
fn each_of_200_streams_of_a_client_that_does_not_read_ends_on_the_last_value() {
    check(&Load {
        settings: "outbox.updates_bytes_max = 1024",
        resources: 20,
        streams_each: 10,
        values: 200,
        ..Load::default()
    });
}

#[test]
fn a_client_that_stalls_again_and_again_is_up_to_date_each_time_it_reads() {
    let server = Server::start();
    let mut writer = server.client();
    let mut reader = server.client_with(slow());
    let load = Load { bytes: 64 * 1024, ..Load::default() };
    writer.expect("POST", &["0"], numbered(0, load.bytes), 201);
    let reid = reader.expect("STREAM", &["0"], nil(), 200).reid;
    let mut streams = Streams { newest: HashMap::from([(reid, 0)]), updates: 0 };
    for last in (BATCH..=20 * BATCH).step_by(BATCH) {
        write(&mut writer, &load, last - BATCH + 1..=last);
        while !streams.all_have(last) {
            streams.take(&reader.next_answer());
        }
    }
}
