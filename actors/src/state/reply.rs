//! Messages on their way to a client: answers and updates.

use super::reid::Reid;
use crate::protocol::{Refusal, Response, Rnum, Value, Verb, Warning};

/// Bytes that an encoded message has besides REID, payload and warning; for fair turns only.
const MESSAGE_OVERHEAD_BYTES: usize = 64;

/// An answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The code.
    pub rnum: Rnum,
    /// The value, `None` for nil.
    pub payload: Option<Value>,
    /// The reason of a refusal, or a remark.
    pub warning: Option<Warning>,
}

impl Reply {
    /// An answer without a value or a warning.
    pub fn of(rnum: Rnum) -> Self {
        Reply { rnum, payload: None, warning: None }
    }

    /// A 200 with a value.
    pub fn value(value: Value) -> Self {
        Reply { rnum: Rnum::Ok, payload: Some(value), warning: None }
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        Reply { rnum: refusal.rnum, payload: None, warning: refusal.warning }
    }
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// The answer to a request; `None` if it asked for no verb that there is.
    Request(Option<Verb>),
    /// An update of a stream, or its end.
    Stream,
}

/// A message that has left the outbox and is to be written.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub(super) occasion: Occasion,
    pub(super) reid: Reid,
    pub(super) reply: Reply,
}

impl Outgoing {
    /// The message in the form that is encoded.
    pub fn as_response(&self) -> Response<'_> {
        Response {
            reid: self.reid.as_bytes(),
            rnum: self.reply.rnum,
            payload: self.reply.payload.as_ref().map(Value::as_bytes),
            warning: self.reply.warning.as_deref(),
        }
    }

    /// What it is, and its code.
    pub fn kind(&self) -> (Occasion, Rnum) {
        (self.occasion, self.reply.rnum)
    }

    /// The value that it carries.
    pub fn value(&self) -> Option<&Value> {
        self.reply.payload.as_ref()
    }

    /// About the size of the encoded message.
    pub(super) fn size_bytes(&self) -> usize {
        MESSAGE_OVERHEAD_BYTES
            + self.reid.as_bytes().len()
            + self.reply.payload.as_ref().map_or(1, Value::size_bytes)
    }
}
