//! A disk that fails on demand, and knows what a power cut would leave.

use std::io;
use std::ops::Bound;

use parking_lot::Mutex;
use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

use super::*;

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Writes and growth fail with `ENOSPC` until the disk is well again.
    Full,
    /// The operation fails with `EIO`, and those after it until the disk is well again.
    Dead,
    /// One operation fails with `EIO`; the next would not.
    Once,
    /// Half of a write is done, then it fails.
    Short,
    /// The next sync fails, and what was not synced stays unsynced for ever.
    Sync,
}

/// What is done to a file.
#[derive(Clone, Debug)]
enum Operation {
    Write(u64, Vec<u8>),
    Resize(u64),
}

/// Shared by the test and the backends that it is under.
#[derive(Debug, Default)]
pub(super) struct Disk(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Operations that may still be done before one fails.
    countdown: Option<(u64, Failure)>,
    failing: Option<Failure>,
    /// Operations so far.
    count: u64,
    /// What the platters have.
    durable: Vec<u8>,
    /// What only the memory of the operating system has.
    pending: Vec<Operation>,
    /// Asks for a crash image after each operation, from this seed.
    seed: Option<u64>,
    acknowledged: usize,
    crashes: Vec<(usize, Vec<u8>)>,
}

impl Disk {
    /// Lets the operation after so many others fail.
    pub(super) fn fail_after(&self, operations: u64, failure: Failure) {
        self.0.lock().countdown = Some((operations, failure));
    }

    /// Whether it has failed since it was told to.
    pub(super) fn has_failed(&self) -> bool {
        self.0.lock().countdown.is_none()
    }

    pub(super) fn is_well_again(&self) {
        let mut state = self.0.lock();
        state.countdown = None;
        state.failing = None;
    }

    /// Notes what a crash would leave after each operation from now on.
    pub(super) fn watch(&self, seed: u64) {
        self.0.lock().seed = Some(seed);
    }

    /// Says that so much has been acknowledged.
    pub(super) fn acknowledge(&self, count: usize) {
        self.0.lock().acknowledged = count;
    }

    /// What crashes would have left, each with how much had been acknowledged.
    pub(super) fn crashes(&self) -> Vec<(usize, Vec<u8>)> {
        std::mem::take(&mut self.0.lock().crashes)
    }

    /// What a crash now would leave.
    pub(super) fn crash(&self, seed: u64) -> Vec<u8> {
        self.0.lock().crash(&mut Random(seed))
    }

    pub(super) fn opener(self: &Arc<Self>) -> Opener {
        let disk = Arc::clone(self);
        Arc::new(move |builder, file| {
            let file_is =
                |error: io::Error| redb::DatabaseError::from(redb::StorageError::from(error));
            let bytes = {
                let mut bytes = Vec::new();
                io::Read::read_to_end(&mut &file, &mut bytes).map_err(file_is)?;
                bytes
            };
            // What is in a file that is opened again may be in memory only.
            let mut state = disk.0.lock();
            if state.count == 0 || bytes.is_empty() {
                state.durable = bytes;
                state.pending.clear();
            }
            drop(state);
            let file = FileBackend::new(file)?;
            builder.create_with_backend(Backend { file, disk: Arc::clone(&disk) })
        })
    }
}

impl State {
    /// Counts an operation, and says how it is to fail.
    fn next(&mut self, is_growth: bool, is_sync: bool) -> Option<Failure> {
        self.count += 1;
        match self.countdown {
            Some((0, Failure::Sync)) if !is_sync => {}
            Some((0, failure)) => {
                self.countdown = None;
                self.failing = Some(failure);
            }
            Some((left, failure)) => self.countdown = Some((left - 1, failure)),
            None => {}
        }
        let failing = self.failing?;
        match failing {
            Failure::Full if !is_growth => return None,
            Failure::Full | Failure::Dead => {}
            Failure::Once | Failure::Short | Failure::Sync => self.failing = None,
        }
        Some(failing)
    }

    fn done(&mut self, operation: Operation) {
        self.pending.push(operation);
        self.picture();
    }

    fn picture(&mut self) {
        if let Some(seed) = self.seed {
            let image = self.crash(&mut Random(seed ^ self.count.wrapping_mul(0x9e37_79b9)));
            self.crashes.push((self.acknowledged, image));
        }
    }

    fn crash(&self, random: &mut Random) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        let odds = random.below(4);
        for operation in &self.pending {
            if random.below(4) <= odds {
                apply(&mut bytes, operation, random);
            }
        }
        bytes
    }

    fn sync(&mut self) {
        let mut random = Random(0);
        for operation in self.pending.drain(..) {
            apply_whole(&mut self.durable, &operation, &mut random);
        }
        self.picture();
    }

    /// After a failed sync the operating system holds pages for written that may not be.
    fn lose(&mut self) {
        let mut random = Random(self.count);
        let pending = std::mem::take(&mut self.pending);
        for operation in pending {
            match operation {
                Operation::Resize(_) => self.pending.push(operation),
                Operation::Write(..) if random.below(2) == 0 => {
                    apply(&mut self.durable, &operation, &mut random);
                }
                Operation::Write(..) => {}
            }
        }
    }
}

fn apply_whole(bytes: &mut Vec<u8>, operation: &Operation, _: &mut Random) {
    match operation {
        Operation::Resize(length) => bytes.resize(usize::try_from(*length).unwrap(), 0),
        Operation::Write(offset, data) => {
            let offset = usize::try_from(*offset).unwrap();
            bytes.resize(bytes.len().max(offset + data.len()), 0);
            bytes[offset..offset + data.len()].copy_from_slice(data);
        }
    }
}

/// The same, but a write may be torn between two sectors.
fn apply(bytes: &mut Vec<u8>, operation: &Operation, random: &mut Random) {
    match operation {
        Operation::Write(offset, data) if data.len() > 512 && random.below(4) == 0 => {
            let sectors = random.below((data.len() / 512) as u64);
            let torn = data[..usize::try_from(sectors).unwrap() * 512].to_vec();
            apply_whole(bytes, &Operation::Write(*offset, torn), random);
        }
        _ => apply_whole(bytes, operation, random),
    }
}

/// Numbers that look random and come again for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }
}

/// A file on the disk.
#[derive(Debug)]
struct Backend {
    file: FileBackend,
    disk: Arc<Disk>,
}

fn error(failure: Failure) -> io::Error {
    const ENOSPC: i32 = 28;
    const EIO: i32 = 5;
    io::Error::from_raw_os_error(if failure == Failure::Full { ENOSPC } else { EIO })
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.disk.0.lock().failing == Some(Failure::Dead) {
            return Err(error(Failure::Dead));
        }
        self.file.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        if let Some(failure) = state.next(true, false) {
            return Err(error(failure));
        }
        self.file.set_len(length)?;
        state.done(Operation::Resize(length));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        match state.next(false, true) {
            None => {
                state.sync();
                Ok(())
            }
            Some(failure) => {
                state.lose();
                Err(error(failure))
            }
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        let failure = state.next(true, false);
        let written = match failure {
            None => data,
            Some(Failure::Short) => &data[..data.len() / 2],
            Some(failure) => return Err(error(failure)),
        };
        self.file.write(offset, written)?;
        state.done(Operation::Write(offset, written.to_vec()));
        failure.map_or(Ok(()), |failure| Err(error(failure)))
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}
