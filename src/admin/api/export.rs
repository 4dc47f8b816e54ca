//! A copy of everything, written to the client as fast as it takes it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::rt::time::timeout;
use actix_web::web::Bytes;
use actix_web::{HttpResponse, web};
use futures_core::Stream;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::{Admin, Failure};
use crate::store::{Sink, write_to};

/// Pieces that wait for the client; each has the size of the snapshot writer's buffer.
const PIECES_MAX: usize = 4;

/// How long a client may take nothing of it, and another one waits for its turn.
const PATIENCE: Duration = Duration::from_secs(30);

/// The content type of a snapshot.
const CONTENT_TYPE: &str = "application/vnd.fanal.snapshot";

/// A copy of everything that is kept, in the format of the snapshot files.
///
/// Each value is as it is when it is read. A copy that fails on the way ends without a proper end.
#[utoipa::path(
    get, path = "/v1/snapshot",
    responses(
        (status = 200, content_type = "application/vnd.fanal.snapshot", body = Vec<u8>),
        (status = 503, body = Failure)
    )
)]
pub async fn export(admin: web::Data<Admin>) -> Result<HttpResponse, Failure> {
    let permit = timeout(PATIENCE, admin.0.exports.clone().acquire_owned()).await;
    let Ok(Ok(permit)) = permit else {
        let text = "another copy is being taken; try again";
        return Err(Failure::of(StatusCode::SERVICE_UNAVAILABLE, text));
    };
    let (sender, pieces) = channel(PIECES_MAX);
    let runtime = Handle::current();
    let broker = admin.broker().clone();
    actix_web::rt::task::spawn_blocking(move || {
        let _permit = permit;
        let taken = Pieces { sender: sender.clone(), runtime, patience: PATIENCE };
        match write_to(taken, broker.snapshot()) {
            Ok(report) => log::info!("a copy of {} resources was taken", report.resources),
            Err(error) => {
                log::warn!("a copy was not taken to its end: {error}");
                // It is gone, or takes nothing, most often.
                let _ = sender.try_send(Err(error));
            }
        }
    });
    Ok(HttpResponse::Ok().content_type(CONTENT_TYPE).streaming(Taken(pieces)))
}

/// Where the writer writes to.
struct Pieces {
    sender: Sender<io::Result<Bytes>>,
    runtime: Handle,
    /// How long the client may take nothing.
    patience: Duration,
}

impl io::Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Ok(Bytes::copy_from_slice(bytes));
        let send = async { timeout(self.patience, self.sender.send(piece)).await };
        match self.runtime.block_on(send) {
            Ok(Ok(())) => Ok(bytes.len()),
            Ok(Err(_)) => {
                Err(io::Error::new(io::ErrorKind::BrokenPipe, "who asked for it is gone"))
            }
            Err(_) => {
                Err(io::Error::new(io::ErrorKind::TimedOut, "who asked for it takes nothing of it"))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The other end keeps it.
impl Sink for Pieces {
    fn sync(&mut self, _: bool) -> io::Result<()> {
        Ok(())
    }
}

/// What the client takes.
struct Taken(Receiver<io::Result<Bytes>>);

impl Stream for Taken {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(task)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn who_takes_nothing_is_given_up() {
        actix_web::rt::System::new().block_on(async {
            let (sender, mut pieces) = channel(1);
            let runtime = Handle::current();
            let patience = Duration::from_millis(20);
            let mut taken = Pieces { sender, runtime, patience };
            let write = move || {
                let first = taken.write(b"abc").map_err(|error| error.kind());
                (first, taken.write(b"def").map_err(|error| error.kind()), taken)
            };
            let written = actix_web::rt::task::spawn_blocking(write).await.unwrap();
            let (first, second, mut taken) = written;
            assert_eq!((first, second), (Ok(3), Err(io::ErrorKind::TimedOut)));
            assert_eq!(&pieces.recv().await.unwrap().unwrap()[..], b"abc");
            drop(pieces);
            let write = move || taken.write(b"ghi").map_err(|error| error.kind());
            let third = actix_web::rt::task::spawn_blocking(write).await.unwrap();
            assert_eq!(third, Err(io::ErrorKind::BrokenPipe));
        });
    }
}
