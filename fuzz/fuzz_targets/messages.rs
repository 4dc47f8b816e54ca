//! Any bytes at all may arrive on a door without frames, cut anywhere. What has to hold for them is
//! in `check`, which the tests of the framings share. The last byte says how large the pieces are.

#![no_main]

#[path = "../../tests/framings/check.rs"]
mod check;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let (bytes, pieces) = check::in_pieces(input);
    check::check_messages(bytes, &pieces);
    check::check_boundary(bytes, &pieces);
});
