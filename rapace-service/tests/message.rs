//! Messages have the form that plain derives give, and derive what is missing.
#![allow(clippy::unwrap_used)]

use postcard_schema::Schema;
use postcard_schema::schema::owned::OwnedNamedType;
use rapace_macros::message;
use serde::{Deserialize, Serialize};

mod plain {
    use super::*;

    #[derive(Serialize, Schema)]
    pub(super) enum Many<T> {
        #[serde(rename = "Nothing")]
        _Unit,
        Bytes(Vec<u8>, Option<Vec<u8>>),
        Named {
            value: T,
            bytes: Vec<u8>,
        },
    }
}

#[message(crate = "rapace_service")]
enum Many<T> {
    #[serde(rename = "Nothing")]
    Unit,
    Bytes(Vec<u8>, Option<Vec<u8>>),
    Named {
        value: T,
        bytes: Vec<u8>,
    },
}

#[track_caller]
fn check(message: &Many<u16>, plain: &plain::Many<u16>) {
    let bytes = postcard::to_stdvec(message).unwrap();
    assert_eq!(bytes, postcard::to_stdvec(plain).unwrap());
    assert_eq!(postcard::from_bytes::<Many<u16>>(&bytes).unwrap(), *message);
}

#[test]
fn bytes_in_a_message_have_the_form_of_a_sequence() {
    let bytes = || vec![0, 1, 128, 255];
    check(&Many::Bytes(bytes(), None), &plain::Many::Bytes(bytes(), None));
    check(&Many::Bytes(vec![], Some(bytes())), &plain::Many::Bytes(vec![], Some(bytes())));
    let (message, same) =
        (Many::Named { value: 300, bytes: bytes() }, plain::Many::Named { value: 300, bytes: bytes() });
    check(&message, &same);
    assert_eq!(postcard::to_stdvec(&Many::<u16>::Unit).unwrap(), [0]);
}

#[test]
fn a_message_has_the_schema_of_its_type() {
    let (message, plain): (OwnedNamedType, OwnedNamedType) =
        (Many::<u16>::SCHEMA.into(), plain::Many::<u16>::SCHEMA.into());
    // The variant that is never made has another name there, and says so to serde.
    assert_eq!(message, plain);
}

/// All that a message derives, derived by its user.
#[message(crate = "rapace_service")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Schema)]
struct Own {
    text: String,
}

#[test]
fn what_is_derived_already_is_left_alone() {
    let own = Own { text: "a".to_owned() };
    assert_eq!(postcard::from_bytes::<Own>(&postcard::to_stdvec(&own).unwrap()).unwrap(), own.clone());
}
