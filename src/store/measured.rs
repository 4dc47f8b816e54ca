//! A store with a stopwatch: what each operation of the store below it took, and what came of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use fanal_actors::Value;
use fanal_actors::metrics::Histogram;
use fanal_actors::ports::{Change, Restore, SaveReport, Snapshot, Store, StoreError, Unsaved};

use crate::clock::Clock;

/// Bounds of the times, in nanoseconds: from a flash disk that has nothing to do to one that is
/// worn out.
const TIMES: &[u64] = &[
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    1_000_000_000,
    5_000_000_000,
    30_000_000_000,
];

/// What a store did.
pub struct StoreMetrics {
    /// How long saves took, of what came before them.
    pub saves: Histogram,
    /// How long structural changes took to get to the disk, one flush for many of them.
    pub appends: Histogram,
    /// How long it took to read a value that was in the store only.
    pub reads: Histogram,
    /// How long whole copies took.
    pub backups: Histogram,
    saved_bytes: AtomicU64,
    saved_values: AtomicU64,
    last_save: AtomicU64,
    errors: [AtomicU64; Operation::ALL.len()],
}

/// What a store is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Save values.
    Save,
    /// Append structural changes.
    Append,
    /// Read a value.
    Read,
    /// Write a whole copy.
    Backup,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Operation; 4] =
        [Operation::Save, Operation::Append, Operation::Read, Operation::Backup];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Save => "save",
            Operation::Append => "append",
            Operation::Read => "read",
            Operation::Backup => "backup",
        }
    }
}

impl Default for StoreMetrics {
    fn default() -> Self {
        let [saves, appends, reads, backups] = [(); 4].map(|()| Histogram::new(TIMES));
        StoreMetrics {
            saves,
            appends,
            reads,
            backups,
            saved_bytes: AtomicU64::new(0),
            saved_values: AtomicU64::new(0),
            last_save: AtomicU64::new(0),
            errors: Default::default(),
        }
    }
}

impl StoreMetrics {
    /// Bytes that saves wrote.
    pub fn saved_bytes(&self) -> u64 {
        self.saved_bytes.load(Ordering::Relaxed)
    }

    /// Values that saves wrote.
    pub fn saved_values(&self) -> u64 {
        self.saved_values.load(Ordering::Relaxed)
    }

    /// When the last save ended well, in milliseconds since 1970; 0 if none has yet.
    pub fn last_save_millis(&self) -> u64 {
        self.last_save.load(Ordering::Relaxed)
    }

    /// How often an operation failed.
    pub fn errors(&self, operation: Operation) -> u64 {
        self.errors.get(operation as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    fn time<T>(
        &self,
        operation: Operation,
        work: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let began = Clock::now();
        let outcome = work();
        let took = Clock::now().saturating_duration_since(began);
        if outcome.is_err() {
            self.note_error(operation);
        } else {
            self.histogram(operation).observe(took);
        }
        outcome
    }

    fn note_error(&self, operation: Operation) {
        if let Some(count) = self.errors.get(operation as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn histogram(&self, operation: Operation) -> &Histogram {
        match operation {
            Operation::Save => &self.saves,
            Operation::Append => &self.appends,
            Operation::Read => &self.reads,
            Operation::Backup => &self.backups,
        }
    }
}

/// See the module's text.
struct Measured {
    store: Arc<dyn Store>,
    metrics: Arc<StoreMetrics>,
}

/// The same store, with what it does measured.
pub fn measure(store: Arc<dyn Store>) -> (Arc<dyn Store>, Arc<StoreMetrics>) {
    let metrics = Arc::new(StoreMetrics::default());
    (Arc::new(Measured { store, metrics: Arc::clone(&metrics) }), metrics)
}

impl Store for Measured {
    fn load(&self, restore: &mut dyn Restore) -> Result<(), StoreError> {
        self.store.load(restore)
    }

    fn append(&self, changes: &[Change]) -> Result<(), StoreError> {
        self.metrics.time(Operation::Append, || self.store.append(changes))
    }

    fn save(&self, unsaved: &dyn Unsaved) -> Result<SaveReport, StoreError> {
        let report = self.metrics.time(Operation::Save, || self.store.save(unsaved))?;
        let metrics = &self.metrics;
        metrics.saved_bytes.fetch_add(report.bytes, Ordering::Relaxed);
        metrics.saved_values.fetch_add(report.resources, Ordering::Relaxed);
        let now = Clock::wall().duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        metrics.last_save.store(millis, Ordering::Relaxed);
        Ok(report)
    }

    fn read(&self, number: u64) -> Result<Option<Value>, StoreError> {
        self.metrics.time(Operation::Read, || self.store.read(number))
    }

    fn back_up<'s>(
        &self,
        age: Duration,
        take: &mut dyn FnMut() -> Snapshot<'s>,
    ) -> Result<Option<SaveReport>, StoreError> {
        let began = Clock::now();
        let outcome = self.store.back_up(age, take);
        match &outcome {
            Ok(Some(_)) => {
                self.metrics.backups.observe(Clock::now().saturating_duration_since(began));
            }
            Ok(None) => {}
            Err(_) => self.metrics.note_error(Operation::Backup),
        }
        outcome
    }

    fn keeps_values(&self) -> bool {
        self.store.keeps_values()
    }
}
