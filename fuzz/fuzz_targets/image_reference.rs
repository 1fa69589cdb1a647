//! See `cooper_fuzz::image_reference`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cooper_fuzz::image_reference(data));
