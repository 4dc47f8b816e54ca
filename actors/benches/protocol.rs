//! The wire in nanoseconds: cutting a request, finding its end, writing an answer.

#![allow(missing_docs, reason = "criterion's macros make public functions without any")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use fanal_actors::{Boundary, Limits, Response, Rnum, encode_response, split};
use rmp::encode::{write_array_len, write_bin, write_map_len, write_sint, write_str};

const LIMITS: Limits = Limits {
    payload_depth_max: 512,
    path_depth_max: 256,
    name_bytes_max: 2048,
    path_bytes_max: 16_384,
    auth_bytes_max: 8192,
    reid_bytes_max: 4096,
};

/// A small value, and one as large as the budgets of docs/performance.md have it.
const PAYLOAD_BYTES: [usize; 2] = [32, 1176];

/// A PUT as clients send it.
fn put(payload_bytes: usize) -> Vec<u8> {
    let mut message = Vec::new();
    let bytes = &mut message;
    // Writing into memory cannot fail.
    let _ = write_map_len(bytes, 6);
    let _ = write_str(bytes, "REID");
    let _ = write_sint(bytes, 70_000);
    let _ = write_str(bytes, "AUTH");
    let _ = write_map_len(bytes, 2);
    for (key, value) in [("USER", "ann"), ("TOKEN", "a long random secret")] {
        let _ = write_str(bytes, key);
        let _ = write_str(bytes, value);
    }
    let _ = write_str(bytes, "VERB");
    let _ = write_str(bytes, "PUT");
    let _ = write_str(bytes, "PATH");
    let _ = write_array_len(bytes, 3);
    for name in ["hall", "lamps", "lamp17"] {
        let _ = write_str(bytes, name);
    }
    let _ = write_str(bytes, "META");
    let _ = write_map_len(bytes, 0);
    let _ = write_str(bytes, "PAYL");
    let _ = write_bin(bytes, &vec![7; payload_bytes]);
    message
}

fn splitter(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("split a PUT");
    for size in PAYLOAD_BYTES {
        let message = put(size);
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| split(black_box(&message), &LIMITS).is_ok());
        });
    }
    group.finish();
}

fn boundary(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("find the end of a PUT");
    for size in PAYLOAD_BYTES {
        let message = put(size);
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            let mut boundary = Boundary::default();
            bencher.iter(|| boundary.advance(black_box(&message)).is_ok());
        });
    }
    group.finish();
}

fn encoder(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode an answer");
    for size in PAYLOAD_BYTES {
        let payload = vec![7; size];
        let mut out = Vec::with_capacity(2 * size + 128);
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| {
                let payload = Some(black_box(&payload[..]));
                let response =
                    Response { reid: &[0xce, 0, 1, 2, 3], rnum: Rnum::Ok, payload, warning: None };
                out.clear();
                encode_response(&response, &mut out);
                out.len()
            });
        });
    }
    group.finish();
}

criterion_group!(protocol, splitter, boundary, encoder);
criterion_main!(protocol);
