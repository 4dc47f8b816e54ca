//! Any bytes at all may arrive as a message. What has to hold for them is in `check`, which the
//! tests of the splitter share, so that neither falls behind.

#![no_main]

#[path = "../../actors/tests/splitter/check.rs"]
mod check;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|message: &[u8]| {
    // It panics at what must not be; whether this message is a request does not matter.
    let _ = check::split_and_check(message);
});
