//! The store that keeps nothing: for a broker whose state is made anew at each start.

use fanal_actors::Value;
use fanal_actors::ports::{Change, Restore, SaveReport, Store, StoreError, Unsaved};

/// Keeps nothing. What is asked of it succeeds at once.
#[derive(Debug, Default)]
pub struct MemoryStore;

impl Store for MemoryStore {
    fn load(&self, restore: &mut dyn Restore) -> Result<(), StoreError> {
        restore.begin();
        Ok(())
    }

    fn append(&self, _: &[Change]) -> Result<(), StoreError> {
        Ok(())
    }

    fn save(&self, _: &dyn Unsaved) -> Result<SaveReport, StoreError> {
        Ok(SaveReport { resources: 0, bytes: 0 })
    }

    fn read(&self, _: u64) -> Result<Option<Value>, StoreError> {
        Ok(None)
    }

    fn keeps_values(&self) -> bool {
        false
    }
}
