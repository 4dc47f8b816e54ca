//! Rights: what may be done at a path, as a set.

use std::fmt;

use crate::protocol::Verb;

/// A set of things that may be done at one path. There is one for each verb but POST, which takes
/// the rights of PUT and CREATE both, and one for the administration of the broker.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Rights(u16);

const NAMED: &[(&str, Rights)] = &[
    ("READ", Rights::READ),
    ("WRITE", Rights::WRITE),
    ("CREATE", Rights::CREATE_GROUP),
    ("DELETE", Rights::DELETE),
    ("LIST", Rights::LIST),
    ("LINK", Rights::LINK_GROUP),
    ("ADMIN", Rights::ALL),
    ("GET", Rights::GET),
    ("PUT", Rights::PUT),
    ("POST", Rights(Rights::PUT.0 | Rights::CREATE.0)),
    ("MKDIR", Rights::MKDIR),
    ("STREAM", Rights::STREAM),
    ("STOP", Rights::STOP),
    ("UNLINK", Rights::UNLINK),
];

impl Rights {
    /// Nothing.
    pub const NONE: Rights = Rights(0);
    /// GET.
    pub const GET: Rights = Rights(1);
    /// PUT, and with CREATE also POST.
    pub const PUT: Rights = Rights(1 << 1);
    /// CREATE, and with PUT also POST.
    pub const CREATE: Rights = Rights(1 << 2);
    /// MKDIR.
    pub const MKDIR: Rights = Rights(1 << 3);
    /// DELETE.
    pub const DELETE: Rights = Rights(1 << 4);
    /// LIST.
    pub const LIST: Rights = Rights(1 << 5);
    /// STREAM.
    pub const STREAM: Rights = Rights(1 << 6);
    /// STOP.
    pub const STOP: Rights = Rights(1 << 7);
    /// LINK.
    pub const LINK: Rights = Rights(1 << 8);
    /// UNLINK.
    pub const UNLINK: Rights = Rights(1 << 9);
    /// The administration of the broker.
    pub const ADMIN: Rights = Rights(1 << 10);
    /// Everything.
    pub const ALL: Rights = Rights((1 << 11) - 1);

    const READ: Rights = Rights(Self::GET.0 | Self::STREAM.0 | Self::STOP.0);
    const WRITE: Rights = Self::PUT;
    const CREATE_GROUP: Rights = Rights(Self::CREATE.0 | Self::MKDIR.0);
    const LINK_GROUP: Rights = Rights(Self::LINK.0 | Self::UNLINK.0);

    /// The rights with this name: a group (READ WRITE CREATE DELETE LIST LINK ADMIN) or a verb
    /// that is no group. ADMIN is everything; POST is the same as PUT and CREATE.
    pub fn from_name(name: &str) -> Option<Rights> {
        NAMED.iter().find(|(known, _)| *known == name).map(|(_, rights)| *rights)
    }

    /// All names that [`Rights::from_name`] knows.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMED.iter().map(|(name, _)| *name)
    }

    /// What it takes at PATH to do this. LINK takes the right to GET at its source as well.
    pub fn needed(verb: Verb) -> Rights {
        match verb {
            Verb::Get => Self::GET,
            Verb::Put => Self::PUT,
            Verb::Post => Self::PUT.and(Self::CREATE),
            Verb::Create => Self::CREATE,
            Verb::Mkdir => Self::MKDIR,
            Verb::Delete => Self::DELETE,
            Verb::List => Self::LIST,
            Verb::Stream => Self::STREAM,
            Verb::Stop => Self::STOP,
            Verb::Link => Self::LINK.and(Self::PUT),
            Verb::Unlink => Self::UNLINK.and(Self::PUT),
        }
    }

    /// What is in either.
    #[must_use]
    pub const fn and(self, other: Rights) -> Rights {
        Rights(self.0 | other.0)
    }

    /// What is in this one and not in the other.
    #[must_use]
    pub const fn without(self, other: Rights) -> Rights {
        Rights(self.0 & !other.0)
    }

    /// Whether everything in the other is in this one.
    pub const fn include(self, other: Rights) -> bool {
        other.0 & !self.0 == 0
    }

    /// Whether anything is in both.
    pub const fn touch(self, other: Rights) -> bool {
        other.0 & self.0 != 0
    }
}

/// The verbs, separated by blanks.
impl fmt::Debug for Rights {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SINGLE: &[(&str, Rights)] = &[
            ("GET", Rights::GET),
            ("PUT", Rights::PUT),
            ("CREATE", Rights::CREATE),
            ("MKDIR", Rights::MKDIR),
            ("DELETE", Rights::DELETE),
            ("LIST", Rights::LIST),
            ("STREAM", Rights::STREAM),
            ("STOP", Rights::STOP),
            ("LINK", Rights::LINK),
            ("UNLINK", Rights::UNLINK),
            ("ADMIN", Rights::ADMIN),
        ];
        let names: Vec<&str> = SINGLE
            .iter()
            .filter(|(_, right)| self.include(*right))
            .map(|(name, _)| *name)
            .collect();
        formatter.write_str(&names.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_groups_and_verbs() {
        let shown = |name| format!("{:?}", Rights::from_name(name).unwrap());
        assert_eq!(shown("READ"), "GET STREAM STOP");
        assert_eq!(shown("WRITE"), "PUT");
        assert_eq!(shown("CREATE"), "CREATE MKDIR");
        assert_eq!(shown("LINK"), "LINK UNLINK");
        assert_eq!(shown("POST"), "PUT CREATE");
        assert_eq!(Rights::from_name("ADMIN"), Some(Rights::ALL));
        assert_eq!(Rights::from_name("get"), None);
        assert_eq!(Rights::from_name(""), None);
    }

    #[test]
    fn every_verb_takes_something() {
        for verb in Verb::ALL {
            let needed = Rights::needed(verb);
            assert!(needed != Rights::NONE && Rights::ALL.include(needed), "{verb:?}");
            assert!(!Rights::NONE.include(needed) && !Rights::ALL.without(needed).include(needed));
        }
    }
}
