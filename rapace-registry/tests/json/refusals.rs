//! Each error names the place and what was expected there.
#![allow(dead_code, reason = "only the schemas of these types are looked at")]

use std::collections::{BTreeMap, HashMap};

use postcard_schema::Schema;
use rapace_registry::json;
use serde_json::{Value, json};

#[derive(Schema)]
struct Config {
    retries: u32,
    timeout: Option<u64>,
}

#[derive(Schema)]
struct Unit;

#[derive(Schema)]
enum Command {
    Stop,
    Wait(u8),
    Move(i8, i8),
    Say { text: String },
}

#[derive(Schema)]
struct Request {
    config: Config,
    items: Vec<f32>,
    command: Command,
    env: BTreeMap<String, u8>,
    pairs: HashMap<u8, char>,
}

fn request(change: impl FnOnce(&mut Value)) -> Value {
    let mut value = json!({
        "config": { "retries": 1, "timeout": 2 },
        "items": [1, 2.5],
        "command": { "Wait": 1 },
        "env": { "a b": 1 },
        "pairs": [[1, "x"]],
    });
    change(&mut value);
    value
}

#[track_caller]
fn check_encoding<T: Schema>(value: &Value, expected: &str) {
    let error = json::encode(&T::SCHEMA.into(), value).unwrap_err();
    assert_eq!(error.to_string(), expected);
    assert!(expected.starts_with(&format!("{}: ", error.path)));
}

#[track_caller]
fn check_request(change: impl FnOnce(&mut Value), expected: &str) {
    check_encoding::<Request>(&request(change), expected);
}

#[track_caller]
fn check_decoding<T: Schema>(bytes: &[u8], expected: &str) {
    let error = json::decode(&T::SCHEMA.into(), bytes).unwrap_err();
    assert_eq!(error.to_string(), expected);
}

#[test]
fn json_that_does_not_fit_is_refused_with_its_path() {
    assert!(json::encode(&Request::SCHEMA.into(), &request(|_| {})).is_ok());
    check_request(|v| v["config"]["retries"] = json!("x"), "$.config.retries: expected u32, found string");
    check_request(|v| v["config"]["retries"] = json!(-1), "$.config.retries: expected u32, found -1");
    check_request(|v| v["config"]["retries"] = json!(1.5), "$.config.retries: expected u32, found 1.5");
    check_request(|v| v["config"]["timeout"] = json!(false), "$.config.timeout: expected u64, found boolean");
    check_request(|v| v["config"] = json!([]), "$.config: expected an object (Config), found an array of 0");
    check_request(
        |v| v["config"] = json!({ "retries": 1, "timeuot": 1 }),
        "$.config: unknown field `timeuot`, did you mean `timeout`?",
    );
    check_request(|v| v["config"] = json!({ "retries": 1, "colour": 1 }), "$.config: unknown field `colour`");
    check_request(|v| v["config"] = json!({ "timeout": 1 }), "$.config: field `retries` is missing");
    check_request(|v| v["items"][1] = json!(null), "$.items[1]: expected f32, found null");
    check_request(|v| v["items"][1] = json!(1e39), "$.items[1]: expected f32, found 1e+39");
    check_request(|v| v["items"] = json!({}), "$.items: expected an array (Vec<f32>), found object");
    check_request(|v| v["env"]["a b"] = json!(256), "$.env[\"a b\"]: expected u8, found 256");
    check_request(|v| v["env"] = json!([]), "$.env: expected an object (BTreeMap<String, u8>), found an array of 0");
    check_request(
        |v| v["pairs"][0][1] = json!("xy"),
        "$.pairs[0][1]: expected char (a string of one character), found the string \"xy\"",
    );
    check_request(|v| v["pairs"][0] = json!([1]), "$.pairs[0]: expected [key, value], found an array of 1");
    check_request(|v| v["pairs"][0] = json!(1), "$.pairs[0]: expected [key, value], found 1");
}

#[test]
fn variants_that_do_not_fit_are_refused_with_their_path() {
    let command = |command: Value, expected| check_request(|v| v["command"] = command, expected);
    command(json!("Halt"), "$.command: unknown variant `Halt`, there are Stop, Wait, Move, Say");
    command(json!({ "Halt": 1 }), "$.command: unknown variant `Halt`, there are Stop, Wait, Move, Say");
    command(json!("Wait"), "$.command: expected {\"Wait\": ...}, found the string \"Wait\"");
    command(json!({ "Stop": 1 }), "$.command.Stop: expected null, found 1");
    command(json!({ "Wait": 300 }), "$.command.Wait: expected u8, found 300");
    command(json!({ "Move": [1] }), "$.command.Move: expected an array of 2, found an array of 1");
    command(json!({ "Move": 1 }), "$.command.Move: expected an array of 2, found 1");
    command(json!({ "Move": [1, 128] }), "$.command.Move[1]: expected i8, found 128");
    command(json!({ "Say": { "txt": "" } }), "$.command.Say: unknown field `txt`, did you mean `text`?");
    command(json!({ "Say": "" }), "$.command.Say: expected an object, found string");
    command(json!({ "Stop": null, "Wait": 1 }), "$.command: expected a variant (Command), found object");
    command(json!(1), "$.command: expected a variant (Command), found 1");
}

#[test]
fn plain_values_that_do_not_fit_are_refused() {
    check_encoding::<u8>(&json!(300), "$: expected u8, found 300");
    check_encoding::<i8>(&json!(-129), "$: expected i8, found -129");
    check_encoding::<i64>(&json!(u64::MAX), "$: expected i64, found 18446744073709551615");
    check_encoding::<u8>(&json!("1"), "$: expected u8, found string");
    check_encoding::<u128>(&json!("-1"), "$: expected u128 (a string of digits), found the string \"-1\"");
    check_encoding::<i128>(&json!(0.5), "$: expected i128, found 0.5");
    check_encoding::<f64>(&json!("nan"), "$: expected f64, found string");
    check_encoding::<()>(&json!([]), "$: expected null (()), found an array of 0");
    check_encoding::<Unit>(&json!({}), "$: expected null (Unit), found object");
    check_encoding::<[u8; 2]>(&json!([1, 2, 3]), "$: expected an array of 2, found an array of 3");
    check_encoding::<(u8, bool)>(&json!({}), "$: expected an array ((u8, bool)), found object");
    check_encoding::<(u8, bool)>(&json!([1, 0]), "$[1]: expected bool, found 0");
    check_encoding::<Option<Option<u8>>>(&json!(7), "$: expected null or {\"Some\": value}, found 7");
    check_encoding::<Option<Option<u8>>>(&json!({ "Some": "" }), "$.Some: expected u8, found string");
    check_encoding::<Result<u8, String>>(&json!({ "ok": 1 }), "$: unknown variant `ok`, there are Ok, Err");
    check_encoding::<BTreeMap<String, u8>>(&json!({ "\u{1b}\"": "" }), "$[\"\\u{1b}\\\"\"]: expected u8, found string");
}

#[test]
fn bytes_that_do_not_fit_are_refused_with_their_path() {
    let cut = [&[3][..], &1_f32.to_le_bytes(), &[0, 0]].concat();
    check_decoding::<Vec<f32>>(&cut, "$[1]: 2 bytes are left, 4 expected");
    check_decoding::<u8>(&[], "$: 0 bytes are left, 1 expected");
    check_decoding::<u8>(&[1, 2, 3], "$: 2 bytes are left behind the value");
    check_decoding::<bool>(&[2], "$: expected bool (0 or 1), found 2");
    check_decoding::<(u8, Option<u8>)>(&[1, 2], "$[1]: expected option (0 or 1), found 2");
    check_decoding::<Config>(&[0xff, 0xff, 0xff, 0xff, 0x10], "$.retries: a number of more than 32 bits");
    check_decoding::<u16>(&[0x80, 0x80, 0x80, 0], "$: a number of more than 16 bits");
    check_decoding::<Command>(&[4], "$: variant 4 of an enum with 4");
    check_decoding::<Command>(&[2, 1], "$.Move[1]: 0 bytes are left, 1 expected");
    check_decoding::<Command>(&[3, 2, b'a', 0xff], "$.Say.text: a string that is not UTF-8 from its byte 1 on");
    check_decoding::<char>(&[2, b'a', b'b'], "$: expected char, found the string \"ab\"");
    check_decoding::<char>(&[0], "$: expected char, found the string \"\"");
    check_decoding::<String>(&[5, b'a'], "$: 1 bytes are left, 5 expected");
    check_decoding::<BTreeMap<String, u8>>(&[2, 1, b'k', 0, 1, b'k', 0], "$: `k` is there twice");
    check_decoding::<BTreeMap<String, bool>>(&[1, 1, b'k', 9], "$[\"k\"]: expected bool (0 or 1), found 9");
    check_decoding::<HashMap<u8, bool>>(&[1, 1, 9], "$[0][1]: expected bool (0 or 1), found 9");
}
