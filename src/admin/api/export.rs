//! A copy of everything, written to the client as fast as it takes it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::http::StatusCode;
use actix_web::web::Bytes;
use actix_web::{HttpResponse, web};
use futures_core::Stream;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::{Admin, Failure};
use crate::store::{Sink, write_to};

/// Pieces that wait for the client; each has the size of the snapshot writer's buffer.
const PIECES_MAX: usize = 4;

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
    let permit = admin.0.exports.clone().acquire_owned().await;
    let permit = permit
        .map_err(|_| Failure::of(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping"))?;
    let (sender, pieces) = channel(PIECES_MAX);
    let broker = admin.broker().clone();
    actix_web::rt::task::spawn_blocking(move || {
        let _permit = permit;
        match write_to(Pieces(sender.clone()), broker.snapshot()) {
            Ok(report) => log::info!("a copy of {} resources was taken", report.resources),
            Err(error) => {
                log::warn!("a copy was not taken to its end: {error}");
                // It is gone most often.
                let _ = sender.blocking_send(Err(error));
            }
        }
    });
    Ok(HttpResponse::Ok().content_type(CONTENT_TYPE).streaming(Taken(pieces)))
}

/// Where the writer writes to.
struct Pieces(Sender<io::Result<Bytes>>);

impl io::Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Ok(Bytes::copy_from_slice(bytes));
        let sent = self.0.blocking_send(piece);
        sent.map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "who asked for it is gone"))?;
        Ok(bytes.len())
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
