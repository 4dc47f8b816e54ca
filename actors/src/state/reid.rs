//! REIDs: the opaque bytes by which a client tells its answers apart.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// REIDs up to this size need no memory of their own.
const INLINE_BYTES: usize = 22;

/// The encoded REID of a request, kept as the bytes that came.
///
/// Two encodings of one number are two REIDs (recorded scenario `reid-encoding-identity`).
#[derive(Clone)]
pub struct Reid(Bytes);

#[derive(Clone)]
enum Bytes {
    Inline { length: u8, bytes: [u8; INLINE_BYTES] },
    Shared(Arc<[u8]>),
}

impl Reid {
    /// Copies these bytes, which must be exactly one MessagePack value.
    pub fn copy_from(encoded: &[u8]) -> Self {
        let mut bytes = [0; INLINE_BYTES];
        match (bytes.get_mut(..encoded.len()), u8::try_from(encoded.len())) {
            (Some(start), Ok(length)) => {
                start.copy_from_slice(encoded);
                Reid(Bytes::Inline { length, bytes })
            }
            _ => Reid(Bytes::Shared(Arc::from(encoded))),
        }
    }

    /// The encoded bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Bytes::Inline { length, bytes } => {
                bytes.get(..usize::from(*length)).unwrap_or_default()
            }
            Bytes::Shared(bytes) => bytes,
        }
    }
}

impl PartialEq for Reid {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Reid {}

impl Hash for Reid {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Debug for Reid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Reid({:02x?})", self.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reid_of_any_size_comes_back_byte_for_byte() {
        for size in [1, 5, INLINE_BYTES, INLINE_BYTES + 1, 5000] {
            let bytes: Vec<u8> = (0..=255).cycle().take(size).collect();
            assert_eq!(Reid::copy_from(&bytes).as_bytes(), &bytes[..]);
        }
        assert_ne!(Reid::copy_from(&[5]), Reid::copy_from(&[0xd0, 5]));
    }
}
