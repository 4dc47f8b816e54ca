//! The verbs, one file each: what each asks for, what it answers, what it does to the state.
//!
//! Data verbs (GET PUT STREAM STOP, and POST to what exists) are carried out by one resource.
//! Structural verbs (POST to what is missing, CREATE MKDIR DELETE LIST LINK UNLINK) are carried
//! out by the directory. Codes are those of the table in the conformance README.

pub mod create;
pub mod delete;
pub mod get;
pub mod link;
pub mod list;
pub mod mkdir;
pub mod post;
pub mod put;
pub mod stop;
pub mod stream;
pub mod unlink;

use std::sync::Arc;

use crate::access::{Allowance, View};
use crate::protocol::{Class, Path, Value};

/// A leaf of the tree, as far as the verbs need to know it.
pub trait Leaf: Clone {
    /// Tells leaves apart; no two ever have the same.
    fn number(&self) -> u64;
}

/// A request to one resource.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// GET.
    Get,
    /// PUT, or POST to what exists.
    Put(Value),
    /// STREAM.
    Stream,
    /// STOP.
    Stop,
}

/// A request to the directory.
#[derive(Clone, Debug)]
pub enum Structural {
    /// POST.
    Post {
        /// What to write to, made if missing.
        path: Path,
        /// Its value.
        value: Value,
        /// The class to make it with; `None` if the rules decide.
        class: Option<Class>,
        /// What its maker may have, if that is bounded.
        maker: Option<Arc<Allowance>>,
    },
    /// CREATE.
    Create {
        /// The resource to make.
        path: Path,
        /// The class to make it with; `None` if the rules decide.
        class: Option<Class>,
        /// What its maker may have, if that is bounded.
        maker: Option<Arc<Allowance>>,
    },
    /// MKDIR.
    Mkdir {
        /// The directory to make.
        path: Path,
    },
    /// DELETE.
    Delete {
        /// What to remove.
        path: Path,
    },
    /// LIST.
    List {
        /// The directory to list.
        path: Path,
        /// Whether what is in inner directories is left out.
        non_recursive: bool,
        /// What is seen of it; `None` for everything.
        view: Option<View>,
    },
    /// LINK.
    Link {
        /// The resource that will follow.
        destination: Path,
        /// The resource that is followed.
        source: Path,
    },
    /// UNLINK.
    Unlink {
        /// The resource that follows.
        destination: Path,
        /// The resource that is followed.
        source: Path,
    },
}
