//! What a session measures: how its requests were answered, and of one in many how long it took.

use std::time::Duration;

use crate::metrics::{Metrics, REQUESTS_PER_SAMPLE};
use crate::protocol::{Rnum, Verb};
use crate::state::{Occasion, Outgoing};

/// See the module's text.
#[derive(Default)]
pub(super) struct Measure {
    /// Answers that were sent on their way: the number of the request whose answer is next.
    sent: u64,
    /// The request whose time is being taken, and when it came.
    timed: Option<(u64, Duration)>,
}

impl Measure {
    /// Takes the time of request `number` of a session if its turn has come. Sessions begin at
    /// different requests, so that those with few count as well.
    pub fn begin(&mut self, metrics: &Metrics, session: u64, number: u64) {
        let is_sample = number.wrapping_add(session).is_multiple_of(REQUESTS_PER_SAMPLE);
        if is_sample && self.timed.is_none() {
            self.timed = metrics.now().map(|now| (number, now));
        }
    }

    /// Counts the answers among these messages, which are on their way now. Equal answers come in
    /// runs, and a run is counted at once.
    pub fn note_sent(&mut self, metrics: &Metrics, messages: &[Outgoing]) {
        let mut run: Option<(Option<Verb>, Rnum)> = None;
        let mut length = 0;
        for message in messages {
            let (Occasion::Request(verb), rnum) = message.kind() else { continue };
            if run != Some((verb, rnum)) {
                Self::count(metrics, run.replace((verb, rnum)), std::mem::take(&mut length));
            }
            length += 1;
            if let Some((number, came)) = self.timed
                && number == self.sent
            {
                self.timed = None;
                if let (Some(durations), Some(now)) = (metrics.duration(verb), metrics.now()) {
                    durations.observe(now.saturating_sub(came));
                }
            }
            self.sent += 1;
        }
        Self::count(metrics, run, length);
    }

    fn count(metrics: &Metrics, run: Option<(Option<Verb>, Rnum)>, length: u64) {
        if let Some((verb, rnum)) = run {
            metrics.requests.add(verb, rnum, length);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::Waker;

    use super::*;
    use crate::state::{Outbox, OutboxLimits, Reid, Reply, Responder};

    fn later() -> Duration {
        static CALLS: AtomicU64 = AtomicU64::new(0);
        Duration::from_micros(20 * CALLS.fetch_add(1, Ordering::Relaxed))
    }

    #[test]
    fn each_answer_is_counted_and_one_in_many_is_timed() {
        let outbox = Arc::new(Outbox::new(OutboxLimits {
            streams_max: 1.into(),
            stream_buffer: 1.into(),
            stream_buffer_bytes: 1.into(),
            updates_bytes_max: 1.into(),
        }));
        let metrics = Metrics::default();
        metrics.time_by(later);
        let mut measure = Measure::default();
        let verbs = [Some(Verb::Put), Some(Verb::Put), None, Some(Verb::Get)];
        for (number, verb) in (0..3 * REQUESTS_PER_SAMPLE).zip(verbs.into_iter().cycle()) {
            measure.begin(&metrics, 5, number);
            let responder = Responder::new(Arc::clone(&outbox), number, Reid::copy_from(&[1]), 0);
            let rnum = if verb.is_none() { Rnum::BadRequest } else { Rnum::Ok };
            responder.for_verb(verb).answer(Reply::of(rnum));
            if number % 16 == 15 {
                let mut messages = Vec::new();
                outbox.drain(usize::MAX, &mut messages, Waker::noop());
                measure.note_sent(&metrics, &messages);
            }
        }
        let counted: Vec<_> = metrics.requests.all().filter(|(_, _, count)| *count > 0).collect();
        assert_eq!(
            counted,
            [
                (Some(Verb::Get), Rnum::Ok, 48),
                (Some(Verb::Put), Rnum::Ok, 96),
                (None, Rnum::BadRequest, 48)
            ]
        );
        // The 59th of each 64, which is a GET.
        let reading = metrics.duration(Some(Verb::Get)).unwrap().read();
        assert_eq!(reading.count, 3);
        assert!((reading.sum - 60e-6).abs() < 1e-9, "{reading:?}");
    }
}
