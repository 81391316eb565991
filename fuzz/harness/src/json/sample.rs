//! A type with a part of each form that has one encoding only, so that two readers must agree on it.

use postcard_schema::Schema;
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize, Schema)]
pub(super) struct Sample {
    flag: bool,
    letter: char,
    unsigned: (u8, u16, u32, u64),
    signed: (i8, i16, i32, i64),
    wide: (u128, i128),
    name: String,
    bytes: Vec<u8>,
    array: [u16; 2],
    marker: Marker,
    wrapped: Wrapped,
    nested: Option<Option<u8>>,
    commands: Vec<Command>,
    outcome: Result<u32, Option<String>>,
    nothing: (),
}

#[derive(Debug, PartialEq, Serialize, Deserialize, Schema)]
struct Marker;

#[derive(Debug, PartialEq, Serialize, Deserialize, Schema)]
struct Wrapped(u32);

#[derive(Debug, PartialEq, Serialize, Deserialize, Schema)]
enum Command {
    Stop,
    Wait(u32),
    Move(i8, i16),
    Say { text: String, loud: bool },
}
