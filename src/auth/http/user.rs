//! One user: asks the service whether a token is the user's, and then keeps what it says of the
//! user up to date for as long as the user is used.

use std::rc::Rc;

use actix_web::rt::time::{sleep, timeout};

use super::Context;
use super::cache::{Cache, Key, Now, Place, Placed, Update, Verdict};
use super::client::{Failure, Lined, down};
use super::record::{Credential, Token, read_credential};
use crate::auth::secrets::sha256;
use crate::clock::Moment;

/// What is to be asked.
pub struct Question {
    /// By what the cache knows it.
    pub key: Key,
    /// The user.
    pub user: String,
    /// What is to be the token of the user.
    pub token: Token,
}

/// What the service says of a user: the token, and what is kept of it.
type Says = (Token, Credential);

/// Asks, and if the answer is good goes on until the user is not wanted any more.
pub async fn ask(context: Rc<Context>, question: Question) {
    let Question { key, user, token } = question;
    let hash = sha256(token.reveal());
    let mut unsettled = Unsettled { cache: &context.cache, key, hash, settled: false };
    let (verdict, stream) = match first(&context, &user, &token).await {
        Ok(((_, credential), stream)) => (Verdict::Known(credential), Some(stream)),
        Err(Failure::Refused) => (Verdict::Refused, None),
        Err(Failure::Down(how)) => {
            context.complain(&how);
            (Verdict::Failed, None)
        }
    };
    let placed = unsettled.settle(verdict);
    if let (Some((place, closed)), Some(stream)) = (placed, stream) {
        tokio::select! {
            biased;
            // Nothing is ever sent: it resolves when the place is no longer wanted.
            _ = closed => {}
            () = keep(&context, &user, token, place, stream) => {}
        }
    }
}

/// A question without an outcome yet. Whatever becomes of it, nobody waits for ever.
struct Unsettled<'c> {
    cache: &'c Cache,
    key: Key,
    hash: [u8; 32],
    settled: bool,
}

impl Unsettled<'_> {
    fn settle(&mut self, verdict: Verdict) -> Option<Placed> {
        self.settled = true;
        self.cache.settle(self.key, &self.hash, verdict, Now::get())
    }
}

impl Drop for Unsettled<'_> {
    fn drop(&mut self) {
        if !self.settled {
            let _no_place = self.settle(Verdict::Failed);
        }
    }
}

/// Opens the stream of a user, up to and with the first thing that it says.
async fn first(context: &Context, user: &str, token: &Token) -> Result<(Says, Lined), Failure> {
    if token.reveal().is_empty() {
        return Err(Failure::Refused);
    }
    let mut stream = context.service.open(&context.url_of(user), token.reveal()).await?;
    let says = async {
        loop {
            if let Some(says) = next(&mut stream, user).await? {
                return Ok(says);
            }
        }
    };
    let limit = context.service.timeout();
    let says = timeout(limit, says)
        .await
        .map_err(|_| down(format!("did not say who the user is within {limit:?}")))??;
    context.note_success();
    Ok((says, stream))
}

/// The next thing that a stream says; `None` for a sign of life.
async fn next(stream: &mut Lined, user: &str) -> Result<Option<Says>, Failure> {
    let Some(told) = stream.next(read_credential).await? else { return Ok(None) };
    if told.username != user {
        return Err(down("sent the credentials of another user than was asked for"));
    }
    Ok(Some((told.token, told.credential)))
}

/// Keeps a user up to date until it is not wanted any more, or refused.
async fn keep(context: &Context, user: &str, mut token: Token, place: Place, mut stream: Lined) {
    let mut failures: u32 = 0;
    loop {
        let opened = Moment::now();
        let end = follow(context, user, &mut token, place, &mut stream).await;
        let Some(how) = end else { return };
        context.complain(&how);
        drop(stream);
        // Who ends each answer soon is not asked more often for it.
        if Moment::now().since(opened) >= context.backoff.max() {
            failures = 0;
        }
        stream = loop {
            failures = failures.saturating_add(1);
            sleep(context.backoff.wait(failures)).await;
            match first(context, user, &token).await {
                Ok(((newer, credential), stream)) => {
                    token = newer;
                    if !take(context, user, place, credential) {
                        return;
                    }
                    break stream;
                }
                Err(Failure::Refused) => {
                    if context.cache.refuse(user, place, Now::get()) {
                        context.changed();
                    }
                    return;
                }
                Err(Failure::Down(how)) => context.complain(&how),
            }
        };
    }
}

/// Follows an open stream to its end, and says how it ended; `None` if the user is not wanted.
async fn follow(
    context: &Context,
    user: &str,
    token: &mut Token,
    place: Place,
    stream: &mut Lined,
) -> Option<String> {
    let limit = context.service.timeout();
    loop {
        match timeout(limit, next(stream, user)).await {
            Err(_) => return Some(format!("gave no sign of life within {limit:?}")),
            Ok(Err(Failure::Down(how))) => return Some(how),
            // An open stream refuses nothing.
            Ok(Err(Failure::Refused)) => return None,
            Ok(Ok(None)) => {}
            Ok(Ok(Some((newer, credential)))) => {
                *token = newer;
                if !take(context, user, place, credential) {
                    return None;
                }
            }
        }
    }
}

/// Takes what the service says of a user; `false` if the user is not wanted.
fn take(context: &Context, user: &str, place: Place, credential: Credential) -> bool {
    match context.cache.update(user, place, credential) {
        Update::Same => true,
        Update::Changed => {
            context.changed();
            true
        }
        Update::Gone => false,
    }
}
