//! One order: all streams of a resource see its updates in the same order, and the answer to
//! STREAM and the updates after it are one sequence.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use crate::support::{Answer, Client, Request, Server, bin, int, nil};

/// Room for everything, so that nothing may be left out.
const ROOMY: &str = "stream.buffer = 65536
stream.buffer_bytes = 1073741824
outbox.updates_bytes_max = 1073741824";

/// Written when all else has been.
const END: i64 = -1;

/// PUTs these numbers to `x`, a few of them on their way at a time, and says so after each batch.
fn write(mut writer: Client, numbers: impl Iterator<Item = i64>, progress: &SyncSender<()>) {
    let requests: Vec<Request> =
        numbers.map(|number| Request::new("PUT", &["x"]).payl(int(number))).collect();
    for batch in requests.chunks(50) {
        writer.send_all(batch);
        for _ in batch {
            assert_eq!(writer.next_answer().rnum, 200);
        }
        // It does not matter if the other side has not taken the last sign yet, or has gone.
        progress.try_send(()).unwrap_or_default();
    }
}

/// Opens a stream of `x` after each of so many signs of progress.
fn open_meanwhile(server: &Server, progress: &Receiver<()>, count: usize) -> Vec<Follower> {
    let open = |_| {
        progress.recv().expect("the writer lives");
        Follower::of(server)
    };
    (0..count).map(open).collect()
}

/// A client with one stream of `x`.
struct Follower {
    client: Client,
    reid: Vec<u8>,
    first: i64,
}

impl Follower {
    fn of(server: &Server) -> Self {
        let mut client = server.client();
        let answer = client.expect("STREAM", &["x"], nil(), 200);
        Follower { client, first: answer.number(), reid: answer.reid }
    }

    /// The value in the answer and all updates up to this one.
    fn all_until(mut self, last: i64) -> Vec<i64> {
        let mut seen = vec![self.first];
        while seen.last() != Some(&last) {
            seen.push(number_in_update(&self.client.next_answer(), &self.reid));
        }
        seen
    }
}

#[track_caller]
fn number_in_update(update: &Answer, reid: &[u8]) -> i64 {
    assert_eq!((update.rnum, update.warnings.len()), (200, 0), "{update:?}");
    assert_eq!(update.reid, reid, "{update:?}");
    update.number()
}

#[test]
fn streams_opened_while_four_clients_write_all_see_one_order() {
    const EACH: i64 = 2000;
    let server = Server::start_with(ROOMY);
    let mut owner = server.client();
    owner.expect("POST", &["x"], int(0), 201);
    let witness = Follower::of(&server);
    let (progress, made) = sync_channel(1);
    let followers = thread::scope(|scope| {
        for writer in 1..=4 {
            let (client, progress) = (server.client(), progress.clone());
            let numbers = (1..=EACH).map(move |number| writer * 1_000_000 + number);
            scope.spawn(move || write(client, numbers, &progress));
        }
        open_meanwhile(&server, &made, 5)
    });
    owner.expect("PUT", &["x"], int(END), 200);

    let order = witness.all_until(END);
    assert_eq!(order.len() as i64, 2 + 4 * EACH);
    for writer in 1..=4 {
        let own = order.iter().filter(|number| **number / 1_000_000 == writer);
        assert!(own.is_sorted(), "the values of writer {writer} are out of order");
    }
    for follower in followers {
        let seen = follower.all_until(END);
        assert!(order.ends_with(&seen), "{seen:?} is not the end of {order:?}");
    }
}

#[test]
fn a_stream_opened_between_writes_has_neither_a_gap_nor_a_repetition() {
    const LAST: i64 = 5000;
    let server = Server::start_with(ROOMY);
    server.client().expect("POST", &["x"], int(0), 201);
    let (progress, made) = sync_channel(1);
    let followers = thread::scope(|scope| {
        let client = server.client();
        scope.spawn(move || write(client, 1..=LAST, &progress));
        open_meanwhile(&server, &made, 20)
    });
    for follower in followers {
        let seen = follower.all_until(LAST);
        assert_eq!(seen, (seen[0]..=LAST).collect::<Vec<i64>>());
    }
}

#[test]
fn streams_stopped_and_reopened_between_writes_have_neither_a_gap_nor_a_repetition() {
    let server = Server::start_with(ROOMY);
    server.client().expect("POST", &["x"], int(0), 201);
    let (progress, made) = sync_channel(1);
    thread::scope(|scope| {
        let client = server.client();
        scope.spawn(move || write(client, 1..=10_000, &progress));
        let mut client = server.client();
        let request = |verb| Request::new(verb, &["x"]).reid(int(1));
        let mut newest = 0;
        // Ends when the writer has gone.
        while made.recv().is_ok() {
            client.send_request(&request("STREAM"));
            let mut next = client.next_answer().number();
            assert!(next >= newest, "{next} after {newest}");
            client.send_all(&[request("STOP"), request("GET")]);
            loop {
                let frame = client.next_answer();
                if frame.payl == nil() {
                    break;
                }
                next += 1;
                assert_eq!(number_in_update(&frame, &int(1)), next);
            }
            // The answer to GET, right behind that to STOP, so that nothing was between them.
            newest = client.next_answer().number();
            assert!(newest >= next, "{newest} after {next}");
        }
        assert_eq!(client.barrier(), []);
    });
}

#[test]
fn a_stream_with_the_reid_of_one_that_ended_gets_nothing_of_that_one() {
    // So many and so large that they are on their way for many turns.
    const OTHERS: i64 = 200;
    let large = |number: u8| bin(&[number; 50_000]);
    let server = Server::start_with(ROOMY);
    let mut client = server.client();
    let request = |verb, payl| Request::new(verb, &["x"]).payl(payl);
    let stream = request("STREAM", nil()).reid(int(1));
    let mut requests = vec![request("POST", nil())];
    requests.extend((0..OTHERS).map(|other| stream.clone().reid(int(1000 + other))));
    requests.push(stream.clone());
    requests.push(request("PUT", large(1)));
    requests.push(request("DELETE", nil()));
    requests.push(request("POST", large(2)));
    requests.push(stream);
    requests.push(request("PUT", large(3)));
    client.send_all(&requests);

    let mut seen = Vec::new();
    while seen.last() != Some(&(200, 3)) {
        let frame = client.next_answer();
        if frame.reid == int(1) {
            let value = frame.value();
            seen.push((frame.rnum, value.as_slice().map_or(0, |bytes| bytes[0])));
        }
    }
    assert_eq!(seen, [(200, 0), (200, 1), (404, 0), (200, 2), (200, 3)]);
}
