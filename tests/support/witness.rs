//! A witness: two connections that have nothing to do with what a test does to the server.

use std::time::{Duration, Instant};

use super::client::Client;
use super::message::{int, nil};
use super::server::Server;

/// One of the two connections streams what the other one writes.
pub struct Witness {
    writer: Client,
    reader: Client,
    written: i64,
}

impl Witness {
    pub fn of(server: &Server) -> Self {
        let (mut writer, mut reader) = (server.client(), server.client());
        writer.expect("POST", &["witness"], nil(), 201);
        reader.expect("STREAM", &["witness"], nil(), 200);
        Witness { writer, reader, written: 0 }
    }

    /// Writes a few values and sees each of them come.
    #[track_caller]
    pub fn sees_updates(&mut self) {
        for _ in 0..3 {
            self.sees_update();
        }
    }

    /// Writes a value and sees it come. Returns how long that took.
    #[track_caller]
    pub fn sees_update(&mut self) -> Duration {
        let began = Instant::now();
        self.written += 1;
        self.writer.expect("PUT", &["witness"], int(self.written), 200);
        assert_eq!(self.reader.next_answer().payl, int(self.written));
        began.elapsed()
    }

    /// The median time of an update.
    #[track_caller]
    pub fn usual_time(&mut self) -> Duration {
        let mut times: Vec<Duration> = (0..101).map(|_| self.sees_update()).collect();
        times.sort_unstable();
        times[times.len() / 2]
    }
}
