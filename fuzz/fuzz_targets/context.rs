//! See `cooper_fuzz::context`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cooper_fuzz::context(data));
