//! A plugin's configuration: JSON of a type that the program has chosen.

use rapace_session::{Code, Status};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// How a configuration is read, and what is said of it beforehand.
pub(crate) struct Reader<C> {
    /// What is wrong is told with where the bytes come from.
    pub(crate) read: fn(&[u8], &str) -> Result<C, Status>,
    /// The JSON schema, if it is JSON.
    pub(crate) schema: fn() -> Option<Value>,
}

impl Reader<()> {
    /// Whatever comes is left alone.
    pub(crate) fn nothing() -> Self {
        Self { read: |_, _| Ok(()), schema: || None }
    }
}

impl Reader<Vec<u8>> {
    /// Bytes of any form.
    pub(crate) fn bytes() -> Self {
        Self { read: |bytes, _| Ok(bytes.to_owned()), schema: || None }
    }
}

impl<C: DeserializeOwned + JsonSchema> Reader<C> {
    pub(crate) fn json() -> Self {
        Self { read: read_json, schema: || Some(schemars::schema_for!(C).to_value()) }
    }
}

/// Reads a configuration; nothing at all is one without fields. What is wrong is said with its field, its line and its
/// column.
fn read_json<C: DeserializeOwned>(bytes: &[u8], source: &str) -> Result<C, Status> {
    if bytes.trim_ascii().is_empty() {
        // Of what nobody has written there is no line.
        let nothing = serde_json::Map::new();
        return C::deserialize(Value::from(nothing))
            .map_err(|error| refusal(source, &format!("there is none: {error}")));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let config = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        // What has no name is the whole, or not known.
        let at = if matches!(&*path, "." | "?") { String::new() } else { format!("{path}: ") };
        refusal(source, &format!("{at}{}", error.inner()))
    })?;
    json.end().map_err(|error| refusal(source, &error.to_string()))?;
    Ok(config)
}

fn refusal(source: &str, error: &str) -> Status {
    Status::new(Code::InvalidArgument, format!("{source}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields, default)]
    struct Sample {
        name: String,
        limits: BTreeMap<String, u8>,
    }

    #[track_caller]
    fn check(text: &str, expected: Result<&str, &str>) {
        let read = read_json::<Sample>(text.as_bytes(), "here");
        let expected = expected.map(str::to_owned).map_err(|error| refusal("here", error));
        assert_eq!(read.map(|sample| sample.name), expected);
    }

    #[test]
    fn an_error_names_the_field_and_the_place() {
        check("{\"name\": \"a\"}\n", Ok("a"));
        check("", Ok(""));
        check("{\n \"name\": 3}", Err("name: invalid type: integer `3`, expected a string at line 2 column 10"));
        let out_of_range = "limits.calls: invalid value: integer `300`, expected u8 at line 1 column 24";
        check("{\"limits\": {\"calls\": 300}}", Err(out_of_range));
        let unknown = "nam: unknown field `nam`, expected `name` or `limits` at line 1 column 6";
        check("{\"nam\": \"a\"}", Err(unknown));
        check("{} {}", Err("trailing characters at line 1 column 4"));
        check("{", Err("EOF while parsing an object at line 1 column 1"));
        check("[", Err("EOF while parsing a list at line 1 column 1"));
    }

    #[test]
    fn a_configuration_that_is_missing_is_told_so() {
        let error = read_json::<(u8,)>(b" ", "configuration").unwrap_err();
        let text = "configuration: there is none: invalid type: map, expected a tuple of size 1";
        assert_eq!((error.code, error.message.as_str()), (Code::InvalidArgument, text));
    }

    #[test]
    fn deep_nesting_is_an_error() {
        let error = read_json::<Sample>("[".repeat(1 << 20).as_bytes(), "").unwrap_err();
        assert_eq!(error.code, Code::InvalidArgument);
        assert!(
            read_json::<Value>("[".repeat(1 << 20).as_bytes(), "").unwrap_err().message.contains("recursion limit")
        );
    }
}
