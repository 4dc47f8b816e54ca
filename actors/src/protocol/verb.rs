//! Verbs: what a request asks for.

/// A verb of the Lighthouse protocol. Verbs are written in capitals on the wire; anything else is
/// answered 405.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Read the value of a resource.
    Get,
    /// Write the value of a resource that exists.
    Put,
    /// Write the value of a resource, making it and its parents if missing.
    Post,
    /// Make a resource with the value nil.
    Create,
    /// Make a directory.
    Mkdir,
    /// Remove a resource, or a directory with all below it.
    Delete,
    /// Name what is below a directory.
    List,
    /// Get the value now and each update from now on.
    Stream,
    /// End a stream.
    Stop,
    /// Make a resource follow another.
    Link,
    /// End a link.
    Unlink,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Verb; 11] = [
        Verb::Get,
        Verb::Put,
        Verb::Post,
        Verb::Create,
        Verb::Mkdir,
        Verb::Delete,
        Verb::List,
        Verb::Stream,
        Verb::Stop,
        Verb::Link,
        Verb::Unlink,
    ];

    /// Whether it changes a value, the tree or the links.
    pub fn is_writing(self) -> bool {
        !matches!(self, Verb::Get | Verb::List | Verb::Stream | Verb::Stop)
    }

    /// The verb that is written so, or `None`.
    pub fn from_name(name: &[u8]) -> Option<Verb> {
        Some(match name {
            b"PUT" => Verb::Put,
            b"GET" => Verb::Get,
            b"POST" => Verb::Post,
            b"STREAM" => Verb::Stream,
            b"STOP" => Verb::Stop,
            b"LIST" => Verb::List,
            b"CREATE" => Verb::Create,
            b"MKDIR" => Verb::Mkdir,
            b"DELETE" => Verb::Delete,
            b"LINK" => Verb::Link,
            b"UNLINK" => Verb::Unlink,
            _ => return None,
        })
    }

    /// Whether the verb concerns the value of one resource, if there is a resource.
    pub fn is_about_value(self) -> bool {
        matches!(self, Verb::Get | Verb::Put | Verb::Post | Verb::Stream | Verb::Stop)
    }

    /// The verb as it is written on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Verb::Get => "GET",
            Verb::Put => "PUT",
            Verb::Post => "POST",
            Verb::Create => "CREATE",
            Verb::Mkdir => "MKDIR",
            Verb::Delete => "DELETE",
            Verb::List => "LIST",
            Verb::Stream => "STREAM",
            Verb::Stop => "STOP",
            Verb::Link => "LINK",
            Verb::Unlink => "UNLINK",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_is_read_as_it_is_written_and_nothing_else_is() {
        for verb in Verb::ALL {
            assert_eq!(Verb::from_name(verb.name().as_bytes()), Some(verb));
            assert_eq!(Verb::from_name(verb.name().to_lowercase().as_bytes()), None);
        }
        assert_eq!(Verb::from_name(b""), None);
        assert_eq!(Verb::from_name(b"GETS"), None);
    }
}
