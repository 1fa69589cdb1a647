//! See `cooper_fuzz::layer_index`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cooper_fuzz::layer_index(data));
