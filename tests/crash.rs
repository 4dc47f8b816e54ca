//! `kill -9` at random moments under load, again and again on the same data: what was acknowledged
//! is there, values are hardly older than `snapshot.interval`, and every start succeeds.
//!
//! Writers keep a log of what was acknowledged to them. After each kill everything they know of is
//! compared; only the one request that each had in flight may or may not have happened.
//!
//! `FANAL_CRASH_ROUNDS` and `FANAL_CRASH_SEED` say how often and what; `scripts/crash` sets them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests fail loudly, and they measure the time themselves"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use support::{Random, Server, StreamClient, array, int, nil};

const WRITERS: usize = 3;
const DIRECTORIES: usize = 3;
const LEAVES: usize = 4;

/// Time from a start to the kill; at once, and long enough for a value to be too old.
const LIVES_MS: [u64; 6] = [0, 20, 100, 400, 1000, 3000];

/// `snapshot.interval` of the server is 100 ms; the rest is for a disk that others use too.
const AGE_MAX: Duration = Duration::from_millis(2100);

/// A resource: its directory and its number in it.
type Leaf = (usize, usize);

/// What a writer knows to be there, apart from values.
#[derive(Clone, Debug, Default, PartialEq)]
struct Structure {
    directories: BTreeSet<usize>,
    leaves: BTreeSet<Leaf>,
    /// A leaf whose updates go on to the next one in its directory.
    links: BTreeSet<Leaf>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Mkdir(usize),
    Create(Leaf),
    Post(Leaf, i64),
    Put(Leaf, i64),
    DeleteLeaf(Leaf),
    DeleteDirectory(usize),
    Link(Leaf),
    Unlink(Leaf),
}

fn next((directory, number): Leaf) -> Leaf {
    (directory, number + 1)
}

impl Structure {
    fn may(&self, step: Step) -> bool {
        match step {
            Step::Mkdir(directory) => !self.directories.contains(&directory),
            Step::Create(leaf) | Step::Post(leaf, _) => !self.leaves.contains(&leaf),
            Step::Put(leaf, _) | Step::DeleteLeaf(leaf) => self.leaves.contains(&leaf),
            Step::DeleteDirectory(directory) => self.directories.contains(&directory),
            Step::Link(leaf) => {
                let ends = self.leaves.contains(&leaf) && self.leaves.contains(&next(leaf));
                ends && !self.links.contains(&leaf)
            }
            Step::Unlink(leaf) => self.links.contains(&leaf),
        }
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Mkdir(directory) => drop(self.directories.insert(directory)),
            Step::Create(leaf) | Step::Post(leaf, _) => {
                self.directories.insert(leaf.0);
                self.leaves.insert(leaf);
            }
            Step::Put(..) => {}
            Step::DeleteLeaf(leaf) => {
                self.leaves.remove(&leaf);
                self.links.retain(|link| *link != leaf && next(*link) != leaf);
            }
            Step::DeleteDirectory(directory) => {
                self.directories.remove(&directory);
                self.leaves.retain(|leaf| leaf.0 != directory);
                self.links.retain(|link| link.0 != directory);
            }
            Step::Link(leaf) => drop(self.links.insert(leaf)),
            Step::Unlink(leaf) => drop(self.links.remove(&leaf)),
        }
    }

    /// The leaves that a value written to this one comes to.
    fn reached(&self, leaf: Leaf) -> Vec<Leaf> {
        let mut reached = vec![leaf];
        while let Some(last) = reached.last().copied().filter(|last| self.links.contains(last)) {
            reached.push(next(last));
        }
        reached
    }
}

/// One writer with a subtree of its own, over all rounds.
struct Writer {
    root: String,
    random: Random,
    structure: Structure,
    /// Encoded values of each leaf in their order, each with the time of its acknowledgement.
    values: BTreeMap<Leaf, Vec<(Vec<u8>, Instant)>>,
    in_flight: Option<Step>,
    last_value: i64,
    acknowledged: u64,
}

impl Writer {
    fn new(number: usize, seed: u64) -> Self {
        Writer {
            root: format!("writer {number}"),
            random: Random::new(seed + number as u64),
            structure: Structure::default(),
            values: BTreeMap::new(),
            in_flight: None,
            last_value: 0,
            acknowledged: 0,
        }
    }

    fn request(
        &self,
        client: &mut StreamClient,
        verb: &str,
        directory: usize,
        leaf: Option<usize>,
        payl: Vec<u8>,
    ) -> Option<support::Answer> {
        let names = [self.root.clone(), directory.to_string()];
        let leaf = leaf.map(|leaf| leaf.to_string());
        let path: Vec<&str> = names.iter().chain(&leaf).map(String::as_str).collect();
        client.try_request(verb, &path, payl)
    }

    fn choose(&mut self) -> Step {
        loop {
            let leaf = (self.random.below(DIRECTORIES), self.random.below(LEAVES));
            let value = self.last_value + 1;
            let step = match self.random.below(40) {
                0 => Step::Mkdir(leaf.0),
                1..=2 => Step::Create(leaf),
                3..=5 => Step::Post(leaf, value),
                6 => Step::DeleteLeaf(leaf),
                7 => Step::DeleteDirectory(leaf.0),
                8..=10 if leaf.1 + 1 < LEAVES => Step::Link(leaf),
                11 => Step::Unlink(leaf),
                _ => Step::Put(leaf, value),
            };
            if self.structure.may(step) {
                return step;
            }
            // So that a tree with hardly anything in it is soon fuller.
            if self.structure.leaves.is_empty() {
                return Step::Post(leaf, value);
            }
        }
    }

    /// Sends one step; returns whether it was acknowledged.
    fn step(&mut self, client: &mut StreamClient, step: Step) -> bool {
        self.in_flight = Some(step);
        let (verb, (directory, leaf), payl, rnum) = match step {
            Step::Mkdir(directory) => ("MKDIR", (directory, None), nil(), 201),
            Step::Create((d, leaf)) => ("CREATE", (d, Some(leaf)), nil(), 201),
            Step::Post((d, leaf), value) => ("POST", (d, Some(leaf)), int(value), 201),
            Step::Put((d, leaf), value) => ("PUT", (d, Some(leaf)), int(value), 200),
            Step::DeleteLeaf((d, leaf)) => ("DELETE", (d, Some(leaf)), nil(), 200),
            Step::DeleteDirectory(directory) => ("DELETE", (directory, None), nil(), 200),
            Step::Link(leaf) => ("LINK", split(next(leaf)), self.name(leaf), 200),
            Step::Unlink(leaf) => ("UNLINK", split(next(leaf)), self.name(leaf), 200),
        };
        let Some(answer) = self.request(client, verb, directory, leaf, payl) else { return false };
        assert_eq!(answer.rnum, rnum, "{} {step:?}: {answer:?}", self.root);
        self.in_flight = None;
        self.acknowledged += 1;
        self.structure.apply(step);
        self.note_value(step);
        true
    }

    fn name(&self, (directory, leaf): Leaf) -> Vec<u8> {
        array(&[&self.root, &directory.to_string(), &leaf.to_string()])
    }

    /// Adds to the log what an acknowledged step made of values.
    fn note_value(&mut self, step: Step) {
        let now = Instant::now();
        match step {
            Step::Create(leaf) => drop(self.values.insert(leaf, vec![(nil(), now)])),
            Step::Post(leaf, value) => {
                self.last_value = value;
                self.values.insert(leaf, vec![(int(value), now)]);
            }
            Step::Put(leaf, value) => {
                self.last_value = value;
                for leaf in self.structure.reached(leaf) {
                    self.values.get_mut(&leaf).unwrap().push((int(value), now));
                }
            }
            _ => {}
        }
    }

    fn write_until_killed(&mut self, client: &mut StreamClient) {
        loop {
            let step = self.choose();
            if !self.step(client, step) {
                return;
            }
        }
    }

    /// Compares what is there after a start with the log, and goes on from it.
    fn check(&mut self, client: &mut StreamClient, killed: Instant) {
        let in_flight = self.in_flight.take();
        let found = self.look(client, killed, in_flight);
        let mut with_in_flight = self.structure.clone();
        if let Some(step) = in_flight {
            with_in_flight.apply(step);
            if let Step::Post(_, value) | Step::Put(_, value) = step {
                self.last_value = value;
            }
        }
        // Links are known by what they do, further below.
        let known = [&self.structure, &with_in_flight].into_iter().find(|structure| {
            structure.directories == found.directories && structure.leaves == found.leaves
        });
        let known = known.unwrap_or_else(|| {
            panic!("{}: {found:?}\nnot {:?}\nand {in_flight:?}", self.root, self.structure)
        });
        let may_link = with_in_flight.links.union(&self.structure.links).copied().collect();
        let must_link: BTreeSet<Leaf> =
            with_in_flight.links.intersection(&self.structure.links).copied().collect();
        self.structure = known.clone();
        self.structure.links.clear();
        self.check_links(client, &must_link, &may_link);
    }

    /// What of the writer's is there. Each value has to be one that was the newest not long ago.
    fn look(
        &self,
        client: &mut StreamClient,
        killed: Instant,
        in_flight: Option<Step>,
    ) -> Structure {
        let mut found = Structure::default();
        for directory in 0..DIRECTORIES {
            let listing = self.request(client, "LIST", directory, None, nil()).unwrap();
            assert!([200, 404].contains(&listing.rnum), "{listing:?}");
            if listing.rnum == 200 {
                found.directories.insert(directory);
            }
            for number in 0..LEAVES {
                let leaf = (directory, number);
                let answer = self.request(client, "GET", directory, Some(number), nil()).unwrap();
                if answer.rnum != 200 {
                    continue;
                }
                found.leaves.insert(leaf);
                let is_new = match in_flight {
                    Some(Step::Create(made)) => made == leaf && answer.payl == nil(),
                    Some(Step::Post(made, value)) => made == leaf && answer.payl == int(value),
                    Some(Step::Put(written, value)) => {
                        self.structure.reached(written).contains(&leaf) && answer.payl == int(value)
                    }
                    _ => false,
                };
                let log = self.values.get(&leaf).map_or(&[][..], Vec::as_slice);
                assert!(
                    is_new || is_recent(log, &answer.payl, killed),
                    "{} {leaf:?} is {:?}, which is not among the newest of {} values; it was \
                     replaced {:?} before the kill",
                    self.root,
                    answer.value(),
                    log.len(),
                    age(log, &answer.payl, killed),
                );
            }
        }
        found
    }

    /// Writes to every leaf and sees where it arrives: over links that must be there, and over none
    /// that must not.
    fn check_links(
        &mut self,
        client: &mut StreamClient,
        must: &BTreeSet<Leaf>,
        may: &BTreeSet<Leaf>,
    ) {
        let leaves = self.structure.leaves.clone();
        // What the start found may be all that is saved, should the next kill come soon.
        self.values = leaves.iter().map(|leaf| (*leaf, Vec::new())).collect();
        self.read_values(client);
        for leaf in leaves {
            let value = int(self.last_value + 1);
            assert!(self.step(client, Step::Put(leaf, self.last_value + 1)));
            if !self.structure.leaves.contains(&next(leaf)) {
                continue;
            }
            let (directory, number) = split(next(leaf));
            let answer = self.request(client, "GET", directory, number, nil()).unwrap();
            let is_linked = answer.payl == value;
            assert!(is_linked || !must.contains(&leaf), "{}: a link is lost: {leaf:?}", self.root);
            assert!(!is_linked || may.contains(&leaf), "{}: a link is new: {leaf:?}", self.root);
            if is_linked {
                self.structure.links.insert(leaf);
            }
        }
        // What went through links meanwhile is simply read.
        self.read_values(client);
    }

    /// Adds to the log of each leaf what is there now.
    fn read_values(&mut self, client: &mut StreamClient) {
        for (leaf, log) in &mut self.values {
            let (directory, number) = (leaf.0.to_string(), leaf.1.to_string());
            let path = [self.root.as_str(), &directory, &number];
            let answer = client.try_request("GET", &path, nil()).unwrap();
            log.push((answer.payl, Instant::now()));
        }
    }
}

fn split((directory, number): Leaf) -> (usize, Option<usize>) {
    (directory, Some(number))
}

/// Whether this was the newest value at some time not long before the kill.
fn is_recent(log: &[(Vec<u8>, Instant)], value: &[u8], killed: Instant) -> bool {
    age(log, value, killed).is_some_and(|age| age <= AGE_MAX)
}

/// How long before the kill this value was no longer the newest; `None` if it never was.
fn age(log: &[(Vec<u8>, Instant)], value: &[u8], killed: Instant) -> Option<Duration> {
    let place = log.iter().rposition(|(known, _)| known == value)?;
    let replaced = log.get(place + 1).map(|(_, replaced)| *replaced);
    Some(replaced.map_or(Duration::ZERO, |replaced| killed.saturating_duration_since(replaced)))
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn nothing_acknowledged_is_lost_whenever_the_server_is_killed() {
    let rounds = setting("FANAL_CRASH_ROUNDS", 20);
    let seed = setting("FANAL_CRASH_SEED", u64::from(std::process::id()));
    println!("{rounds} rounds, FANAL_CRASH_SEED={seed}");
    let mut random = Random::new(seed);
    let mut server = Server::start_with("unix.path = \"fanal.sock\"");
    let socket = server.folder().join("fanal.sock");
    let mut writers: Vec<Writer> = (1..=WRITERS).map(|number| Writer::new(number, seed)).collect();
    for round in 1..=rounds {
        let life = Duration::from_millis(random.one_of(&LIVES_MS));
        let killed = thread::scope(|scope| {
            for writer in &mut writers {
                let mut client = StreamClient::unix(&socket);
                scope.spawn(move || writer.write_until_killed(&mut client));
            }
            // The moment is chance, not something to wait for.
            thread::sleep(life + Duration::from_micros(random.below(20_000) as u64));
            let killed = Instant::now();
            server.kill();
            killed
        });
        server.start_again();
        let mut client = StreamClient::unix(&socket);
        for writer in &mut writers {
            writer.check(&mut client, killed);
        }
        let acknowledged: u64 = writers.iter().map(|writer| writer.acknowledged).sum();
        let life = life.as_millis();
        println!(
            "round {round} of {rounds}: killed after {life} ms, {acknowledged} acknowledged so far"
        );
    }
}
