//! See `cooper_fuzz::expansion`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cooper_fuzz::expansion(data));
