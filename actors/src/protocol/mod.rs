//! The wire: what a request says and how an answer is written, as pure functions over bytes.
//!
//! Nothing here knows the tree, a session or a socket. Recorded behaviour and its reasons are in
//! the conformance scenarios that `scripts/conformance` runs.

mod boundary;
mod bytes;
mod class;
mod path;
mod pattern;
mod request;
mod response;
mod splitter;
mod value;
mod verb;

pub use boundary::Boundary;
pub use class::Class;
pub use path::{Name, Path};
pub use pattern::Pattern;
pub use request::{
    AuthFields, decode_auth, decode_class, decode_path, decode_source, decode_verb,
    is_non_recursive,
};
pub use response::{
    Refusal, Response, Rnum, Warning, encode_after_payload, encode_before_payload, encode_response,
    write_map_header, write_string,
};
pub use splitter::{Fault, Limits, SplitError, SplitRequest, split, split_value};
pub use value::{NIL, Value};
pub use verb::Verb;
