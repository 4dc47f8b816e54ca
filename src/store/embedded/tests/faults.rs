//! A disk that fails, and power that goes.

use super::disk::{Disk, Failure};
use super::*;

const FAILURES: [Failure; 5] =
    [Failure::Full, Failure::Dead, Failure::Once, Failure::Short, Failure::Sync];

fn store_on(disk: &Arc<Disk>, directory: &FilePath) -> EmbeddedStore {
    EmbeddedStore::open_on(settings(directory), disk.opener()).unwrap()
}

/// A store that has only what a crash has left.
fn restored_from(image: &[u8]) -> Model {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(DATABASE), image).unwrap();
    let model = restored(directory.path());
    assert_eq!(count_named(directory.path(), "broken"), 0, "a crash is no damage");
    model
}

/// Appends or saves something large enough for several pages.
fn step(store: &EmbeddedStore, model: &mut Model, round: u64) -> Result<(), StoreError> {
    let mut next = model.clone();
    if round.is_multiple_of(2) {
        let numbers = round * 20 + 1..=round * 20 + 20;
        let mut kinds: Vec<ChangeKind> = numbers
            .map(|number| create(&format!("d{round}/{number}"), number, value(number)))
            .collect();
        let big = Value::copy_from(&vec![7; 30_000 + usize::try_from(round).unwrap() * 1000]);
        kinds.push(create(&format!("big{round}"), round * 20 + 21, big));
        let last = round * 20 + 20;
        kinds.push(link(&format!("d{round}/{last}"), &format!("big{round}")));
        if round >= 4 {
            kinds.push(delete(&format!("d{}", round - 4)));
        }
        store.append(&next.change_all(kinds))?;
    } else {
        let numbers = next.nodes.values().flatten().map(|resource| resource.number);
        let values = Values(numbers.map(|number| (number, value(number + round))).collect());
        store.save(&values)?;
        next.save(&values);
    }
    *model = next;
    Ok(())
}

#[test]
fn a_disk_that_fails_and_is_well_again_costs_nothing_that_was_acknowledged() {
    for failure in FAILURES {
        let mut failed = 0;
        for operations in 0..40 {
            failed += fail_once(failure, operations);
        }
        assert!(failed >= 10, "{failure:?} failed {failed} calls");
    }
}

/// Fails the disk after so many operations, and returns how many calls that failed.
fn fail_once(failure: Failure, operations: u64) -> usize {
    let what = format!("{failure:?} after {operations}");
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::default();
    let store = store_on(&disk, directory.path());
    let mut model = load(&store);
    let mut failed = 0;
    for round in 0..4 {
        if round == 2 {
            disk.fail_after(operations, failure);
        }
        let mut outcome = step(&store, &mut model, round);
        if let Err(error) = &outcome {
            failed += 1;
            let error = error.to_string();
            let remedy =
                if failure == Failure::Full { "free some space" } else { "check the disk" };
            assert!(error.contains("fanal.redb: "), "{what}: {error}");
            assert!(error.contains(remedy), "{what}: {error}");
            // Whoever has no luck twice has it the third time, when the disk is well.
            drop(step(&store, &mut model, round));
            disk.is_well_again();
            outcome = step(&store, &mut model, round);
        }
        outcome.unwrap_or_else(|error| panic!("{what}, repeated: {error}"));
        if round > 1 {
            assert_eq!(restored_from(&disk.crash(operations + round)), model, "{what}");
        }
        let some = model.nodes.values().flatten().next().unwrap().number;
        store.read(some).unwrap().unwrap();
    }
    disk.is_well_again();
    drop(store);
    assert_eq!(restored(directory.path()), model, "{what}");
    failed
}

#[test]
fn a_crash_after_any_write_leaves_what_was_acknowledged() {
    for seed in 0..4 {
        let directory = tempfile::tempdir().unwrap();
        let disk: Arc<Disk> = Arc::default();
        let store = store_on(&disk, directory.path());
        let mut model = load(&store);
        disk.watch(seed);
        let mut models = vec![model.clone()];
        for round in 0..7 {
            step(&store, &mut model, round).unwrap();
            models.push(model.clone());
            disk.acknowledge(models.len() - 1);
        }
        drop(store);
        let crashes = disk.crashes();
        assert!(crashes.len() > 50, "{}", crashes.len());
        for (number, (acknowledged, image)) in crashes.into_iter().enumerate() {
            let found = restored_from(&image);
            // What was in flight is there as a whole or not at all.
            let is_whole = found == models[acknowledged]
                || models.get(acknowledged + 1).is_some_and(|next| found == *next);
            assert!(is_whole, "seed {seed}, crash {number}: {} was acknowledged", acknowledged);
        }
    }
}

#[test]
fn a_disk_that_fails_at_the_start_is_no_reason_to_set_the_file_aside() {
    for failure in [Failure::Full, Failure::Dead, Failure::Sync] {
        let (directory, model) = filled();
        let disk: Arc<Disk> = Arc::default();
        disk.fail_after(0, failure);
        let store = store_on(&disk, directory.path());
        let error = store.load(&mut Model::default()).unwrap_err().to_string();
        assert!(error.contains("fanal.redb: ") && error.contains("start the broker"), "{error}");
        assert!(disk.has_failed());
        disk.is_well_again();
        assert_eq!(load(&store), model);
        drop(store);
        assert_eq!(restored(directory.path()), model);
        assert_eq!(names(directory.path()), ["fanal.lock", "fanal.redb"]);
    }
}

#[test]
fn a_database_that_cannot_be_made_is_no_file() {
    for operations in 0..12 {
        let directory = tempfile::tempdir().unwrap();
        let disk: Arc<Disk> = Arc::default();
        disk.fail_after(operations, Failure::Full);
        let store = store_on(&disk, directory.path());
        if let Err(error) = store.load(&mut Model::default()) {
            let error = error.to_string();
            assert!(error.contains("fanal.redb.new: no space left on device; free"), "{error}");
        }
        disk.is_well_again();
        assert_eq!(load(&store), Model::default());
        assert_eq!(names(directory.path()), ["fanal.lock", "fanal.redb"]);
    }
}

#[test]
fn appends_saves_and_reads_survive_a_disk_that_comes_and_goes() {
    let directory = tempfile::tempdir().unwrap();
    let disk: Arc<Disk> = Arc::default();
    let store = Arc::new(store_on(&disk, directory.path()));
    let mut model = load(&store);
    let is_done = Arc::new(AtomicBool::new(false));
    let others: Vec<_> = [true, false]
        .map(|saves| {
            let (store, is_done) = (Arc::clone(&store), Arc::clone(&is_done));
            thread::spawn(move || {
                while !is_done.load(Ordering::Acquire) {
                    if saves {
                        let values = (1..50).map(|number| (number, value(number))).collect();
                        drop(store.save(&Values(values)));
                    } else if let Ok(Some(found)) = store.read(7) {
                        assert_eq!(found, value(7));
                    }
                }
            })
        })
        .into();
    for number in 1..50 {
        disk.fail_after(number % 17, FAILURES[usize::try_from(number).unwrap() % 5]);
        let name = number.to_string();
        let changes = model.change_all(vec![create(&name, number, value(number))]);
        while store.append(&changes).is_err() {
            disk.is_well_again();
        }
        disk.is_well_again();
    }
    is_done.store(true, Ordering::Release);
    others.into_iter().for_each(|other| other.join().unwrap());
    drop(store);
    assert_eq!(restored(directory.path()), model);
}
