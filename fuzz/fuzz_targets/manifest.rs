//! See `cooper_fuzz::manifest`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cooper_fuzz::manifest(data));
