//! Values: the opaque bytes of one MessagePack value.

use std::cell::RefCell;
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
        if encoded == [NIL] {
            return Self::nil();
        }
        Value(reuse(encoded).unwrap_or_else(|| Arc::from(encoded)))
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

impl Drop for Value {
    fn drop(&mut self) {
        if is_worth_keeping(self.0.len()) && Arc::strong_count(&self.0) == 1 {
            keep(&self.0);
        }
    }
}

/// Values below this size are made as quickly from new memory, and above it filling them takes
/// most of the time.
const REUSED_BYTES: std::ops::RangeInclusive<usize> = 1000..=64 * 1024;

/// Memory that a thread keeps for values to come, in bytes and in pieces.
const SPARE_BYTES_MAX: usize = 128 * 1024;
const SPARE_PIECES_MAX: usize = 32;

/// Memory of values that are no more, for values of the same size. A resource that is written again
/// and again most often gets values of one size, and what the allocator does with pieces of more
/// than a KiB costs as much as a fifth of a PUT.
#[derive(Default)]
struct Spare {
    pieces: Vec<Arc<[u8]>>,
    bytes: usize,
}

thread_local! {
    static SPARE: RefCell<Spare> = RefCell::default();
}

fn is_worth_keeping(bytes: usize) -> bool {
    REUSED_BYTES.contains(&bytes)
}

/// Keeps the memory of a value that nobody else has, if there is room.
fn keep(memory: &Arc<[u8]>) {
    // A thread that ends may have given up its memory before its values.
    let _ = SPARE.try_with(|spare| {
        let spare = &mut *spare.borrow_mut();
        if spare.pieces.len() < SPARE_PIECES_MAX && spare.bytes + memory.len() <= SPARE_BYTES_MAX {
            spare.bytes += memory.len();
            spare.pieces.push(Arc::clone(memory));
        }
    });
}

/// A copy of these bytes in the memory that was kept last. Memory of another size is given back, so
/// that what is kept follows what is needed.
fn reuse(encoded: &[u8]) -> Option<Arc<[u8]>> {
    if !is_worth_keeping(encoded.len()) {
        return None;
    }
    let taken = SPARE.try_with(|spare| {
        let spare = &mut *spare.borrow_mut();
        let memory = spare.pieces.pop()?;
        spare.bytes -= memory.len();
        Some(memory)
    });
    let mut memory = taken.ok()??;
    let place = Arc::get_mut(&mut memory)?;
    if place.len() != encoded.len() {
        return None;
    }
    place.copy_from_slice(encoded);
    Some(memory)
}

/// Prints the size only: a value may be secret or large, and must not reach a log.
impl fmt::Debug for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Value({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spare() -> (usize, usize) {
        SPARE.with_borrow(|spare| {
            let bytes: usize = spare.pieces.iter().map(|piece| piece.len()).sum();
            assert_eq!(bytes, spare.bytes);
            (spare.pieces.len(), bytes)
        })
    }

    #[test]
    fn memory_of_a_value_is_used_again_when_nobody_has_it_any_more() {
        let first = Value::copy_from(&[1; 2000]);
        let other = first.clone();
        drop(first);
        assert_eq!(spare(), (0, 0), "it is in use");
        let place = other.as_bytes().as_ptr();
        drop(other);
        assert_eq!(spare(), (1, 2000));
        let next = Value::copy_from(&[2; 2000]);
        assert_eq!((next.as_bytes(), next.as_bytes().as_ptr()), (&[2; 2000][..], place));
        assert_eq!(spare(), (0, 0));
    }

    #[test]
    fn memory_of_another_size_is_given_back() {
        drop(Value::copy_from(&[1; 2000]));
        let next = Value::copy_from(&[2; 2001]);
        assert_eq!((next.size_bytes(), spare()), (2001, (0, 0)));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        for size in [1, 999, 1000, 64 * 1024, 64 * 1024 + 1] {
            let values: Vec<Value> = (0..100).map(|_| Value::copy_from(&vec![1; size])).collect();
            drop(values);
            let (pieces, bytes) = spare();
            assert!(pieces <= SPARE_PIECES_MAX && bytes <= SPARE_BYTES_MAX);
            assert!(pieces == 0 || REUSED_BYTES.contains(&(bytes / pieces)));
        }
    }
}
