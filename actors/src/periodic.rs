//! Work that an actor does again and again, at an interval that may be changed meanwhile.

use std::time::Duration;

use actix::{Actor, AsyncContext, Context};

/// How long a changed interval may go unseen.
const LOOK: Duration = Duration::from_secs(1);

/// An interval is no shorter than this.
const LEAST: Duration = Duration::from_millis(1);

/// Has `work` done each `interval`, for the first time after one.
pub fn each<A: Actor<Context = Context<A>>>(
    actor: &A,
    context: &mut Context<A>,
    interval: fn(&A) -> Duration,
    work: fn(&mut A, &mut Context<A>),
) {
    wait(context, interval(actor), Duration::ZERO, interval, work);
}

fn wait<A: Actor<Context = Context<A>>>(
    context: &mut Context<A>,
    left: Duration,
    waited: Duration,
    interval: fn(&A) -> Duration,
    work: fn(&mut A, &mut Context<A>),
) {
    let step = left.clamp(LEAST, LOOK);
    context.run_later(step, move |actor, context| {
        let waited = waited + step;
        let left = interval(actor).saturating_sub(waited);
        if left.is_zero() {
            work(actor, context);
            wait(context, interval(actor), Duration::ZERO, interval, work);
        } else {
            wait(context, left, waited, interval, work);
        }
    });
}

#[cfg(test)]
mod tests {
    use actix::System;
    use tokio::sync::mpsc;

    use super::*;

    struct Worker {
        interval: Duration,
        done: mpsc::Sender<tokio::time::Instant>,
    }

    impl Actor for Worker {
        type Context = Context<Self>;

        fn started(&mut self, context: &mut Self::Context) {
            each(
                self,
                context,
                |worker| worker.interval,
                |worker, _| {
                    let _ = worker.done.try_send(tokio::time::Instant::now());
                    // From an hour to something short after the first time, and to an hour again.
                    let short = Duration::from_millis(300);
                    let long = worker.interval == short;
                    worker.interval = if long { Duration::from_secs(3600) } else { short };
                },
            );
        }
    }

    #[test]
    fn work_is_done_at_the_interval_as_it_is() {
        System::new().block_on(async {
            tokio::time::pause();
            let (done, mut seen) = mpsc::channel(8);
            let started = tokio::time::Instant::now();
            Worker { interval: Duration::from_secs(3600), done }.start();
            let mut expected = Duration::ZERO;
            for more in [3600.0, 0.3, 3600.0, 0.3] {
                expected += Duration::from_secs_f64(more);
                let after = seen.recv().await.unwrap() - started;
                // The timer of the runtime has steps of a millisecond.
                let late = after.saturating_sub(expected);
                assert!(after >= expected && late < Duration::from_secs(10), "{after:?}");
            }
        });
    }
}
