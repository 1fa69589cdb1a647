//! See `cooper_fuzz::plan`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cooper_fuzz::plan(data));
