//! What a program says of itself when it is asked: `PROGRAM capabilities`.

use std::collections::BTreeMap;

use serde::Deserialize;
use thiserror::Error;

use crate::ending::beginning;
use crate::escaped::escaped;

/// What a plugin's program can do, in its own words. What a later version adds is ignored.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Capabilities {
    /// Its name: that of its file.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The version of rapace's protocol that it speaks.
    pub protocol: u16,
    /// Its services, and those of its host that it calls.
    #[serde(default)]
    pub services: Vec<ServiceCapability>,
    /// The types that it has of each type of contract, such as `json-processor` of `dataProcessor`.
    #[serde(default)]
    pub contracts: BTreeMap<String, Vec<String>>,
    /// The JSON schema of its configuration, if it has one.
    #[serde(default)]
    pub config_schema: Option<serde_json::Value>,
}

/// A service that a program serves or calls.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct ServiceCapability {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Who serves it.
    pub provider: ServiceProvider,
    /// Its methods.
    #[serde(default)]
    pub methods: Vec<MethodCapability>,
}

/// Who serves a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceProvider {
    /// The plugin.
    Plugin,
    /// Its host.
    Host,
}

/// A method of a service.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct MethodCapability {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: u32,
    /// Unary, or what streams it has, in the program's words.
    pub kind: String,
}

/// What is wrong in what a program says of itself, and where.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct CapabilitiesFault(String);

/// Characters of a place, and of what is wrong there, that a message shows.
const CHARS_SHOWN: usize = 200;

impl Capabilities {
    /// Reads the JSON that a program has printed.
    ///
    /// # Errors
    ///
    /// When it is not that, with the place.
    pub fn parse(printed: &[u8]) -> Result<Self, CapabilitiesFault> {
        let mut reader = serde_json::Deserializer::from_slice(printed);
        let read: Self = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let place = match error.path().to_string() {
                whole if whole == "." => String::new(),
                field => format!("{}: ", printable(&field)),
            };
            CapabilitiesFault(format!("{place}{}", printable(&error.inner().to_string())))
        })?;
        reader.end().map_err(|error| CapabilitiesFault(error.to_string()))?;
        Ok(read)
    }
}

/// The beginning of a text in which there may be anything.
fn printable(text: &str) -> String {
    escaped(&beginning(text, CHARS_SHOWN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_says_is_read() {
        let text = r#"{"name": "json", "version": "1.2.0", "protocol": 1, "services": [
            {"name": "Json", "version": "1.0", "provider": "plugin", "later": 3,
             "methods": [{"name": "parse", "id": 100, "kind": "unary"}]},
            {"name": "rapace.HostServices", "version": "1.0", "provider": "host", "methods": []}],
            "contracts": {"dataProcessor": ["json-processor"]}, "config_schema": {"type": "object"}, "later": {}}
        "#;
        let read = Capabilities::parse(text.as_bytes()).unwrap();
        assert_eq!((&*read.name, &*read.version, read.protocol), ("json", "1.2.0", 1));
        let method = MethodCapability { name: "parse".into(), id: 100, kind: "unary".into() };
        assert_eq!(read.services[0].methods, [method]);
        assert_eq!(read.services[1].provider, ServiceProvider::Host);
        assert_eq!(read.contracts["dataProcessor"], ["json-processor"]);
        assert_eq!(read.config_schema.unwrap()["type"], "object");
        let least = Capabilities::parse(br#"{"name": "a", "version": "", "protocol": 1, "config_schema": null}"#);
        assert_eq!(least.unwrap().config_schema, None);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let deep = format!(r#"{{"config_schema":{}1"#, "[".repeat(10_000));
        let deepest = format!("config_schema{}[...: recursion limit exceeded at line 1 column 144", "[0]".repeat(62));
        let strange = format!(r#"{{"contracts": {{"\u001b[2J": {}}}}}"#, "[7".repeat(3));
        for (text, expected) in [
            ("", "EOF while parsing a value at line 1 column 0"),
            ("[]", "invalid length 0, expected struct Capabilities with 6 elements at line 1 column 2"),
            (r#"{"name": 7"#, "name: invalid type: integer `7`, expected a string at line 1 column 10"),
            (
                r#"{"services": [{"methods": [{"id": -1}]}]}"#,
                "services[0].methods[0].id: invalid value: integer `-1`, expected u32 at line 1 column 36",
            ),
            (
                r#"{"contracts": {"dataProcessor": "json"}}"#,
                "contracts.dataProcessor: invalid type: string \"json\", expected a sequence at line 1 column 38",
            ),
            (r#"{"name": "a"}"#, "missing field `version` at line 1 column 13"),
            (r#"{"name":"a","version":"","protocol":1} x"#, "trailing characters at line 1 column 40"),
            (&deep, &deepest),
            (&strange, "contracts.\\u{1b}[2J[0]: invalid type: integer `7`, expected a string at line 1 column 30"),
        ] {
            let fault = Capabilities::parse(text.as_bytes()).unwrap_err().to_string();
            assert_eq!(fault, expected);
        }
    }
}
