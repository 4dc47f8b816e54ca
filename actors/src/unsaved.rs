//! What has changed and is not saved yet: resources whose value is to be written, structural
//! changes that nobody waits for, and the answers that wait for the next save.
//!
//! Everything is bounded by something else: resources by twice `limits.nodes_max`, answers by the
//! requests that sessions may have in flight, changes by a bound of its own.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use actix::Recipient;
use parking_lot::Mutex;

use crate::ports::{Change, ChangeKind, Snapshot, Unsaved as UnsavedPort};
use crate::protocol::Value;
use crate::resource::Entry;
use crate::shared::Shared;
use crate::state::Ack;
use crate::supervisor::SaveNow;

/// Structural changes that may wait for the disk, in memory and with their answers given, and the
/// bytes of the values in them. Beyond that, no more are made until the disk is back.
const CHANGES_MAX: usize = 100_000;
const CHANGES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Resources on the list below which those that were deleted are not looked for.
const PRUNE_MIN: usize = 4096;

/// Changes that nobody waits for are appended when there are so many, and do not wait longer.
const CHANGES_AT_ONCE: usize = 4096;

/// See the module's text.
#[derive(Default)]
pub struct Unsaved {
    /// Whether anything changed since the last save was begun.
    changed: AtomicBool,
    values: Mutex<Values>,
    answers: Mutex<Vec<Ack>>,
    /// Changes that were answered and are to be appended, by rising sequence.
    changes: Mutex<Changes>,
    /// The last change that is on disk.
    appended: AtomicU64,
    /// There is no room for more changes that could not be appended.
    is_full: AtomicBool,
    /// Whom to tell that an answer waits.
    supervisor: OnceLock<Recipient<SaveNow>>,
}

/// Each resource once, from its first change after a save was begun.
#[derive(Default)]
struct Values {
    entries: Vec<Arc<Entry>>,
    /// How many there have to be until those that were deleted are looked for: a crowd that makes,
    /// writes and deletes resources must not fill the memory between two saves.
    prune_at: usize,
}

#[derive(Default)]
struct Changes {
    waiting: Vec<Change>,
    /// Bytes of the values in them.
    bytes: usize,
}

fn value_bytes(change: &Change) -> usize {
    match &change.kind {
        ChangeKind::CreateResource { value, .. } => value.size_bytes(),
        _ => 0,
    }
}

impl Unsaved {
    /// Says whom to tell that an answer waits for a save.
    pub fn connect(&self, supervisor: Recipient<SaveNow>) {
        // There is one supervisor in the life of a broker.
        let _ = self.supervisor.set(supervisor);
    }

    /// Notes that there is something to save. A store only when it changes, so that writers on
    /// several threads do not fight over the cache line.
    pub fn note_change(&self) {
        if !self.changed.load(Ordering::Relaxed) {
            self.changed.store(true, Ordering::Release);
        }
    }

    /// Whether there is something to save.
    pub fn is_changed(&self) -> bool {
        self.changed.load(Ordering::Acquire)
    }

    /// Adds a resource whose value has to be saved.
    pub fn add_value(&self, entry: Arc<Entry>) {
        let mut values = self.values.lock();
        if values.entries.len() >= values.prune_at.max(PRUNE_MIN) {
            values.entries.retain(|entry| !entry.is_gone());
            values.prune_at = values.entries.len().saturating_mul(2);
        }
        values.entries.push(entry);
        drop(values);
        self.note_change();
    }

    /// Resources on the list, some of which may have been deleted.
    pub fn count(&self) -> usize {
        self.values.lock().entries.len()
    }

    /// Adds answers that wait until what was written so far is saved.
    pub fn add_answers(&self, more: &mut Vec<Ack>) {
        let mut answers = self.answers.lock();
        let is_first = answers.is_empty();
        answers.append(more);
        drop(answers);
        if is_first {
            self.wake_supervisor();
        }
    }

    #[expect(clippy::disallowed_methods, reason = "one message for what waits until it is taken")]
    fn wake_supervisor(&self) {
        if let Some(supervisor) = self.supervisor.get() {
            supervisor.do_send(SaveNow);
        }
    }

    /// Whether answers wait.
    pub fn has_answers(&self) -> bool {
        !self.answers.lock().is_empty()
    }

    /// Takes the answers that wait.
    pub fn take_answers(&self) -> Vec<Ack> {
        std::mem::take(&mut *self.answers.lock())
    }

    /// Adds a structural change that nobody waits for; it comes back if there are too many, or if
    /// one before it is on another way.
    pub fn add_change(&self, change: Change, sent_before: u64) -> Result<(), Change> {
        let mut changes = self.changes.lock();
        let is_full = changes.waiting.len() >= CHANGES_MAX || changes.bytes >= CHANGES_BYTES_MAX;
        if is_full || sent_before > self.appended.load(Ordering::Acquire) {
            return Err(change);
        }
        changes.bytes += value_bytes(&change);
        changes.waiting.push(change);
        let is_enough = changes.waiting.len() == CHANGES_AT_ONCE;
        drop(changes);
        self.note_change();
        if is_enough {
            self.wake_supervisor();
        }
        Ok(())
    }

    /// Takes the structural changes that nobody waits for.
    pub fn take_changes(&self) -> Vec<Change> {
        std::mem::take(&mut *self.changes.lock()).waiting
    }

    /// Says up to which change the structure is on disk.
    pub fn note_appended(&self, sequence: u64) {
        self.appended.fetch_max(sequence, Ordering::AcqRel);
    }

    /// Says which changes could not be appended and wait for the disk to come back.
    pub fn note_unwritten(&self, changes: &[Change]) {
        let bytes: usize = changes.iter().map(value_bytes).sum();
        let is_full = changes.len() >= CHANGES_MAX || bytes >= CHANGES_BYTES_MAX;
        self.is_full.store(is_full, Ordering::Relaxed);
    }

    /// Whether one more structural change may be made.
    pub fn has_room(&self) -> bool {
        !self.is_full.load(Ordering::Relaxed)
    }

    /// Begins a save: what there is to be saved, if anything is. What changes from now on has to be
    /// saved again.
    pub fn begin<'s>(&self, shared: &'s Shared) -> Option<Saving<'s>> {
        if !self.changed.swap(false, Ordering::AcqRel) {
            return None;
        }
        let values = std::mem::take(&mut *self.values.lock()).entries;
        for entry in &values {
            entry.cell().note_saving();
        }
        Some(Saving { shared, values })
    }

    /// Takes back what could not be saved.
    pub fn failed(&self, saving: Saving<'_>) {
        let again = saving.values.into_iter().filter(|entry| entry.cell().note_unsaved());
        self.values.lock().entries.extend(again);
        self.note_change();
    }
}

/// What a save is about.
pub struct Saving<'s> {
    shared: &'s Shared,
    values: Vec<Arc<Entry>>,
}

impl UnsavedPort for Saving<'_> {
    fn picture(&self) -> Snapshot<'_> {
        self.shared.picture()
    }

    fn values(&self) -> Box<dyn Iterator<Item = (u64, Value)> + '_> {
        let there = self.values.iter().filter(|entry| !entry.is_gone());
        Box::new(there.filter_map(|entry| Some((entry.number(), entry.cell().get()?))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Class, Path};
    use crate::shared::tests::shared;

    fn entry(number: u64) -> Arc<Entry> {
        Entry::new(number, Value::nil(), Class::State)
    }

    fn change(sequence: u64, bytes: usize) -> Change {
        let value = Value::copy_from(&vec![1; bytes]);
        let path = Path::new(["a"]);
        let kind = ChangeKind::CreateResource { path, number: sequence, class: None, value };
        Change { sequence, kind }
    }

    #[test]
    fn what_was_deleted_does_not_wait_for_a_save() {
        let shared = shared();
        let kept = entry(1);
        shared.unsaved.add_value(Arc::clone(&kept));
        for number in 2..100_000 {
            let entry = entry(number);
            shared.unsaved.add_value(Arc::clone(&entry));
            entry.end(&shared, None);
        }
        assert!(shared.unsaved.values.lock().entries.len() <= 2 * PRUNE_MIN);
        let saving = shared.unsaved.begin(&shared).unwrap();
        assert_eq!(saving.values().map(|(number, _)| number).collect::<Vec<_>>(), [1]);
        assert!(shared.unsaved.begin(&shared).is_none(), "nothing has changed since");
        shared.unsaved.failed(saving);
        let again = shared.unsaved.begin(&shared).unwrap();
        assert_eq!(again.values().count(), 1);
    }

    #[test]
    fn changes_that_nobody_waits_for_are_bounded_and_never_overtake_one_that_was_sent() {
        let shared = shared();
        let unsaved = &shared.unsaved;
        assert!(unsaved.add_change(change(1, 1), 0).is_ok());
        assert!(unsaved.add_change(change(2, 1), 9).is_err(), "the ninth is on its way");
        unsaved.note_appended(9);
        assert!(unsaved.add_change(change(10, CHANGES_BYTES_MAX), 9).is_ok());
        assert!(unsaved.add_change(change(11, 1), 9).is_err(), "they are too large together");
        assert_eq!(unsaved.take_changes().len(), 2);
        assert!(unsaved.add_change(change(12, 1), 9).is_ok());
    }

    #[test]
    fn there_is_no_room_for_a_change_while_too_many_could_not_be_written() {
        let shared = shared();
        shared.unsaved.note_unwritten(&[change(1, 1), change(2, CHANGES_BYTES_MAX)]);
        assert!(!shared.unsaved.has_room());
        shared.unsaved.note_unwritten(&[]);
        assert!(shared.unsaved.has_room());
    }
}
