//! Any bytes may come from a server to a command that is its client, on a door without frames. The
//! end that is found has to be where a decoder finds it, and no end of a part is one of the whole.

#![no_main]

use fanal::cli::answer_length;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(found) = answer_length(input) else { return };
    let mut rest = input;
    let decoded = rmpv::decode::read_value_with_max_depth(&mut rest, 128);
    if let (Some(end), Ok(_)) = (found, &decoded) {
        assert_eq!(end, input.len() - rest.len());
        assert!(matches!(answer_length(&input[..end - 1]), Ok(None)));
    }
    assert!(found.is_some() || decoded.is_err());
});
