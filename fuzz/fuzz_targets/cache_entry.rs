//! See `cooper_fuzz::cache_entry`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cooper_fuzz::cache_entry(data));
