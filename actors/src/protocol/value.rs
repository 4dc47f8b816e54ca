//! Values: the opaque bytes of one MessagePack value.

use std::fmt;
use std::sync::{Arc, LazyLock};

/// MessagePack's nil, the value of a resource that was created without one.
pub const NIL: u8 = 0xc0;

/// One encoded MessagePack value, exactly as a client sent it; never decoded by the broker.
///
/// A value owns memory of its own size, never a slice of a larger read buffer, so that a small
/// value cannot keep a large buffer alive. Clones share the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Value(Arc<[u8]>);

impl Value {
    /// Copies these bytes, which must be exactly one MessagePack value.
    pub fn copy_from(encoded: &[u8]) -> Self {
        if encoded == [NIL] { Self::nil() } else { Value(Arc::from(encoded)) }
    }

    /// The shared nil.
    pub fn nil() -> Self {
        static SHARED: LazyLock<Value> = LazyLock::new(|| Value(Arc::from([NIL])));
        SHARED.clone()
    }

    /// The encoded bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Size of the encoded value in bytes; at least 1.
    pub fn size_bytes(&self) -> usize {
        self.0.len()
    }
}

/// Prints the size only: a value may be secret or large, and must not reach a log.
impl fmt::Debug for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Value({} bytes)", self.0.len())
    }
}
