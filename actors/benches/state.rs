//! State in nanoseconds: a value through an outbox, and names in a tree of 100,000 leaves.

#![allow(missing_docs, reason = "criterion's macros make public functions without any")]
#![allow(
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark fails loudly"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::task::Waker;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use fanal_actors::bench_support::{Opened, Outbox, Reid, Reply, Responder, StreamId, Tree};
use fanal_actors::{OutboxLimits, Outgoing, Path, Rnum, Value, encode_response};

/// The defaults of config.example.toml.
fn limits() -> OutboxLimits {
    OutboxLimits {
        streams_max: 1024.into(),
        stream_buffer: 16.into(),
        stream_buffer_bytes: (1 << 20).into(),
        updates_bytes_max: (8 << 20).into(),
    }
}
const TURN_BYTES: usize = 1 << 16;
const PAYLOAD_BYTES: usize = 1176;
const DIRECTORIES: usize = 100;
const LEAVES_EACH: usize = 1000;

/// An outbox with one open stream, whose answer has gone out.
fn with_stream() -> (Arc<Outbox>, StreamId) {
    let outbox = Arc::new(Outbox::new(limits()));
    let reid = Reid::copy_from(&[0xce, 0, 1, 2, 3]);
    let Opened::New(stream) = outbox.open_stream(1, &reid) else { panic!("no stream") };
    let responder = Responder::new(Arc::clone(&outbox), 0, reid, 100);
    responder.answer_opening(stream, Reply::of(Rnum::Ok));
    let mut out = Vec::new();
    outbox.drain(TURN_BYTES, &mut out, Waker::noop());
    assert_eq!(out.len(), 1, "the answer has gone out");
    (outbox, stream)
}

/// Pushes so many values and takes them out again.
fn push_and_drain(
    outbox: &Outbox,
    stream: StreamId,
    value: &Value,
    out: &mut Vec<Outgoing>,
    n: usize,
) {
    for _ in 0..n {
        outbox.push_update(stream, black_box(value));
    }
    out.clear();
    outbox.drain(TURN_BYTES, out, Waker::noop());
    assert_eq!(out.len(), n, "what went in came out");
}

fn outbox(criterion: &mut Criterion) {
    let (outbox, stream) = with_stream();
    let value = Value::copy_from(&[7; PAYLOAD_BYTES]);
    let mut out = Vec::new();
    let mut group = criterion.benchmark_group("outbox: push and drain");
    for count in [1, 8] {
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| push_and_drain(&outbox, stream, &value, &mut out, count));
        });
    }
    let mut bytes = Vec::with_capacity(TURN_BYTES);
    group.bench_function("8, encoded", |bencher| {
        bencher.iter(|| {
            push_and_drain(&outbox, stream, &value, &mut out, 8);
            bytes.clear();
            out.iter().for_each(|message| encode_response(&message.as_response(), &mut bytes));
            bytes.len()
        });
    });
    group.finish();
    // Nobody drains any more: each push drops the oldest value.
    criterion.bench_function("outbox: push into a full ring", |bencher| {
        bencher.iter(|| outbox.push_update(stream, black_box(&value)));
    });
}

fn path(directory: usize, leaf: usize) -> Path {
    Path::new(["hall".to_owned(), format!("d{directory}"), format!("leaf{leaf}")])
}

fn tree(criterion: &mut Criterion) {
    let mut tree = Tree::default();
    let mut paths = Vec::new();
    for leaf in 0..LEAVES_EACH {
        for directory in 0..DIRECTORIES {
            let path = path(directory, leaf);
            tree.make_leaf(&path, leaf, usize::MAX).expect("each leaf is new");
            paths.push(path);
        }
    }
    // A step that visits all of them in no order.
    let step = 61_803;
    let mut next = 0;
    let mut group = criterion.benchmark_group("tree of 100,000 leaves");
    group.bench_function("look up", |bencher| {
        bencher.iter(|| {
            next = (next + step) % paths.len();
            let _ = black_box(tree.find(paths[next].names()));
        });
    });
    let new: Vec<Path> = (0..DIRECTORIES).map(|directory| path(directory, LEAVES_EACH)).collect();
    group.bench_function("insert and remove", |bencher| {
        bencher.iter(|| {
            next = (next + step) % new.len();
            let path = &new[next];
            let made = tree.make_leaf(path, next, usize::MAX);
            tree.remove(path);
            tree.uncount(1, 1);
            made.is_ok()
        });
    });
    group.finish();
}

criterion_group!(state, outbox, tree);
criterion_main!(state);
