//! See `cooper_fuzz::parser`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cooper_fuzz::parser(data));
