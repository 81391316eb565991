//! Target `answer`: what a program prints that is asked what it is.

use rapace_host::Capabilities;

/// The longest text of what is wrong: a place and a reason, each cut at 200 characters, which escapes make longer.
const FAULT_BYTES_MAX: usize = 6 << 10;

/// Reads the bytes as the answer of a program that has no manifest.
///
/// It is read, or refused with a short text that stays on its line. What is read is what stands there, as far as it has a name:
/// another parser of JSON, which knows no types, finds the same.
pub fn answer(data: &[u8]) {
    match Capabilities::parse(data) {
        Ok(read) => {
            // What stands where nobody reads may be no text, or no number that there is.
            let Ok(json) = serde_json::from_slice::<serde_json::Value>(data) else { return };
            assert_eq!(json["name"], *read.name);
            assert_eq!(json["version"], *read.version);
            assert_eq!(json["protocol"], read.protocol);
            assert_eq!(json["services"].as_array().map_or(0, Vec::len), read.services.len());
            assert_eq!(json["contracts"].as_object().map_or(0, serde_json::Map::len), read.contracts.len());
            assert_eq!(json["config_schema"], read.config_schema.unwrap_or_default());
        }
        Err(fault) => {
            let text = fault.to_string();
            assert!((1..=FAULT_BYTES_MAX).contains(&text.len()), "{text}");
            assert!(!text.chars().any(|c| c.is_control() && c != '\t'), "{text:?}");
        }
    }
}
