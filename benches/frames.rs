//! WebSocket frames in nanoseconds: from the bytes of a socket to a message, mask off.

#![allow(missing_docs, reason = "criterion's macros make public functions without any")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fanal::doors::bench_support::{Frames, Framing};

const MESSAGE_BYTES_MAX: usize = 2 << 20;

/// A whole, masked, binary message, its length in the shortest form.
fn frame(payload_bytes: u64) -> Vec<u8> {
    let mut frame = match (u8::try_from(payload_bytes), u16::try_from(payload_bytes)) {
        (Ok(length @ 0..126), _) => vec![0x82, 0x80 | length],
        (_, Ok(length)) => [&[0x82, 0x80 | 126][..], &length.to_be_bytes()].concat(),
        _ => [&[0x82, 0x80 | 127][..], &payload_bytes.to_be_bytes()].concat(),
    };
    frame.extend_from_slice(&[0x37, 0xfa, 0x21, 0x3d]);
    frame.extend((0..payload_bytes).map(|_| 7));
    frame
}

fn decoder(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode a frame");
    for size in [32, 1176, 65_536] {
        // Each round takes the mask off where the bytes lie, or puts it on again.
        let mut bytes = frame(size);
        let mut frames = Frames::new(MESSAGE_BYTES_MAX);
        group.throughput(Throughput::Bytes(size));
        group.bench_function(BenchmarkId::new("whole", size), |bencher| {
            bencher.iter(|| {
                let decoded = frames.decode(black_box(&mut bytes));
                assert!(matches!(decoded, Ok((_, Some(_)))), "a message is whole");
            });
        });
        group.bench_function(BenchmarkId::new("in two pieces", size), |bencher| {
            bencher.iter(|| {
                let (first, second) = bytes.split_at_mut(30);
                assert!(matches!(frames.decode(black_box(first)), Ok((30, None))), "half");
                let decoded = frames.decode(black_box(second));
                assert!(matches!(decoded, Ok((_, Some(_)))), "a message is whole");
            });
        });
    }
    group.finish();
}

criterion_group!(doors, decoder);
criterion_main!(doors);
