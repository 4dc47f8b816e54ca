//! Acknowledgements that wait for several parties.

use std::sync::Arc;

use parking_lot::Mutex;

use super::reply::Reply;
use super::responder::Responder;

/// An answer that is given when the last clone is dropped: a PUT through links when every linked
/// resource has the value, a DELETE when every stream below it has ended, a structural change when
/// it is also on disk.
pub type Ack = Arc<AckGuard>;

/// See [`Ack`].
pub struct AckGuard {
    pending: Mutex<Option<(Responder, Reply)>>,
}

impl AckGuard {
    /// An answer to be given when all clones are gone.
    pub fn new(responder: Responder, reply: impl Into<Reply>) -> Ack {
        Arc::new(AckGuard { pending: Mutex::new(Some((responder, reply.into()))) })
    }

    /// Changes the answer to come, because one of the parties could not do its part.
    pub fn amend(&self, reply: impl Into<Reply>) {
        if let Some((_, answer)) = self.pending.lock().as_mut() {
            *answer = reply.into();
        }
    }
}

impl Drop for AckGuard {
    fn drop(&mut self) {
        if let Some((responder, reply)) = self.pending.get_mut().take() {
            responder.answer(reply);
        }
    }
}
