#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let _ = cooper::dockerfile::parse(cooper::dockerfile::Source::new("x", text));
});
