//! Any bytes may come before the first of a client where a proxy is expected. A header is never
//! longer than what came, and what comes behind it changes nothing.

#![no_main]

use fanal::doors::proxy_header_length;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Some(end) = proxy_header_length(input) {
        assert!(end <= input.len());
        assert_eq!(proxy_header_length(&input[..end]), Some(end));
    }
});
