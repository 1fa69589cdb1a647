//! See `cooper_fuzz::ignore`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cooper_fuzz::ignore(data));
