#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rapace_fuzz_harness::events(data));
