//! The cell of a resource: its last value, in memory or left in the store.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::protocol::{Class, Value};

/// The last value of a resource, written by the resource and read by whoever saves.
pub struct ValueCell {
    kept: Mutex<Kept>,
    class: Class,
    /// The value has to be saved. Changed under the lock of the value only.
    unsaved: AtomicBool,
}

enum Kept {
    /// In memory.
    Here(Value),
    /// In the store only.
    Away {
        /// Its size.
        bytes: u64,
    },
}

impl Kept {
    fn size_bytes(&self) -> u64 {
        match self {
            Kept::Here(value) => value.size_bytes() as u64,
            Kept::Away { bytes } => *bytes,
        }
    }
}

/// What came of a new value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replaced {
    /// It has to be saved, and the one before did not.
    pub newly_unsaved: bool,
    /// Size of the value before if that was in the store only.
    pub away_bytes: u64,
}

impl ValueCell {
    /// A cell with this value, which needs no saving.
    pub fn new(value: Value, class: Class) -> Self {
        let kept = Mutex::new(Kept::Here(value));
        ValueCell { kept, class, unsaved: AtomicBool::new(false) }
    }

    /// What is kept of its values.
    pub fn class(&self) -> Class {
        self.class
    }

    /// The last value; `None` if it is in the store only.
    pub fn get(&self) -> Option<Value> {
        match &*self.kept.lock() {
            Kept::Here(value) => Some(value.clone()),
            Kept::Away { .. } => None,
        }
    }

    /// Whether the value is in the store only.
    pub fn is_away(&self) -> bool {
        matches!(&*self.kept.lock(), Kept::Away { .. })
    }

    /// Size of the last value in bytes, wherever it is.
    pub fn size_bytes(&self) -> u64 {
        self.kept.lock().size_bytes()
    }

    /// Replaces the value.
    pub fn set(&self, value: Value) -> Replaced {
        let mut kept = self.kept.lock();
        let old = std::mem::replace(&mut *kept, Kept::Here(value));
        let newly_unsaved = self.class == Class::State && !self.unsaved.load(Ordering::Relaxed);
        if newly_unsaved {
            self.unsaved.store(true, Ordering::Relaxed);
        }
        // The memory of a large value is given back without the lock.
        drop(kept);
        let away_bytes = if let Kept::Away { bytes } = old { bytes } else { 0 };
        Replaced { newly_unsaved, away_bytes }
    }

    /// Says that the value is about to be saved; what is set from now on has to be saved again.
    pub fn note_saving(&self) {
        let _kept = self.kept.lock();
        self.unsaved.store(false, Ordering::Relaxed);
    }

    /// Says that the value has to be saved after all; `false` if that is known.
    pub fn note_unsaved(&self) -> bool {
        let _kept = self.kept.lock();
        !self.unsaved.swap(true, Ordering::Relaxed)
    }

    /// Leaves a value that is saved to the store; its size, or `None` if there is nothing to leave.
    pub fn send_away(&self) -> Option<u64> {
        let mut kept = self.kept.lock();
        let bytes = kept.size_bytes();
        let is_here = matches!(&*kept, Kept::Here(_));
        // One byte is most often the shared nil, and never worth a read.
        if !is_here
            || bytes <= 1
            || self.class != Class::State
            || self.unsaved.load(Ordering::Relaxed)
        {
            return None;
        }
        let old = std::mem::replace(&mut *kept, Kept::Away { bytes });
        drop(kept);
        drop(old);
        Some(bytes)
    }

    /// Takes a value that was read from the store, unless there is a newer one; the size that it
    /// had there.
    pub fn bring_back(&self, value: Value) -> u64 {
        let mut kept = self.kept.lock();
        let Kept::Away { bytes } = *kept else { return 0 };
        *kept = Kept::Here(value);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(byte: u8) -> Value {
        Value::copy_from(&[0xc4, 1, byte])
    }

    #[test]
    fn a_value_is_unsaved_from_the_first_write_after_a_save() {
        let cell = ValueCell::new(value(1), Class::State);
        assert!(cell.set(value(2)).newly_unsaved);
        assert!(!cell.set(value(3)).newly_unsaved);
        cell.note_saving();
        assert!(cell.note_unsaved() && !cell.note_unsaved(), "a save has failed");
        cell.note_saving();
        assert!(cell.set(value(4)).newly_unsaved);
    }

    #[test]
    fn only_the_class_state_is_saved_or_left_to_the_store() {
        for class in [Class::Live, Class::Event] {
            let cell = ValueCell::new(value(1), class);
            assert_eq!(cell.send_away(), None);
            assert!(!cell.set(value(2)).newly_unsaved);
        }
    }

    #[test]
    fn a_value_leaves_when_it_is_saved_and_comes_back_unless_there_is_a_newer_one() {
        let cell = ValueCell::new(value(1), Class::State);
        cell.set(value(2));
        assert_eq!(cell.send_away(), None, "it is not saved");
        cell.note_saving();
        assert_eq!(cell.send_away(), Some(3));
        assert_eq!((cell.get(), cell.size_bytes(), cell.is_away()), (None, 3, true));
        assert_eq!(cell.bring_back(value(2)), 3);
        assert_eq!(cell.get(), Some(value(2)));
        assert_eq!(cell.send_away(), Some(3));
        assert_eq!(cell.set(value(5)), Replaced { newly_unsaved: true, away_bytes: 3 });
        assert_eq!(cell.bring_back(value(2)), 0);
        assert_eq!(cell.get(), Some(value(5)));
    }

    #[test]
    fn nil_stays_because_it_takes_no_memory() {
        assert_eq!(ValueCell::new(Value::nil(), Class::State).send_away(), None);
    }
}
