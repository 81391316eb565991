//! Values as bytes: postcard, strictly.

use postcard::ser_flavors::Flavor;
use rapace_session::{CallError, Code, Draft, DraftWriter, Scratch, Status};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::method_info::MethodInfo;

/// A value that cannot be encoded. Only types with an encoding of their own can fail so.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct EncodeError(postcard::Error);

/// Bytes that are no value of their type.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// They are no encoding, or one that ends early.
    #[error("{0}")]
    Malformed(postcard::Error),
    /// Something follows the value.
    #[error("{left} bytes follow it")]
    Trailing {
        /// Bytes that are left.
        left: usize,
    },
}

/// Encodes a value of type `T`.
pub type Encoder<T> = fn(&T) -> Result<Scratch, EncodeError>;

/// Decodes an owned value of type `T`.
pub type Decoder<T> = fn(&[u8]) -> Result<T, DecodeError>;

/// Encodes a value.
///
/// # Errors
///
/// What the type's own `Serialize` says.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Scratch, EncodeError> {
    postcard::serialize_with_flavor(value, Writer(Scratch::take())).map_err(EncodeError)
}

/// Encodes a value where it is sent from, if it is large.
pub(crate) fn encode_in<T: Serialize + ?Sized>(draft: DraftWriter<'_>, value: &T) -> Result<Draft, EncodeError> {
    postcard::serialize_with_flavor(value, InPlace(draft)).map_err(EncodeError)
}

/// Decodes a value, which may borrow from the bytes. They must be that one value and nothing else.
pub(crate) fn decode<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, DecodeError> {
    match postcard::take_from_bytes(bytes).map_err(DecodeError::Malformed)? {
        (value, []) => Ok(value),
        (_, rest) => Err(DecodeError::Trailing { left: rest.len() }),
    }
}

/// Decodes a value that owns what it has: a [`Decoder`].
///
/// # Errors
///
/// When the bytes are anything but one value.
pub fn decode_owned<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    decode(bytes)
}

struct Writer(Scratch);

impl Flavor for Writer {
    type Output = Scratch;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Scratch> {
        Ok(self.0)
    }
}

struct InPlace<'a>(DraftWriter<'a>);

impl Flavor for InPlace<'_> {
    type Output = Draft;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Draft> {
        Ok(self.0.finish())
    }
}

/// What a callee answers to a message that it cannot read.
pub(crate) fn unreadable<T>(method: &MethodInfo, what: &str, bytes: &[u8], error: &DecodeError) -> Status {
    let (name, found, expected) = (method.full_name(), bytes.len(), short_name::<T>());
    Status::new(Code::InvalidArgument, format!("{what} of {name} has {found} bytes that are no {expected}: {error}"))
}

/// What a call fails with whose reply or item the caller cannot read.
pub(crate) fn unexpected<T>(method: &MethodInfo, what: &str, bytes: &[u8], error: &DecodeError) -> CallError {
    let (name, found, expected) = (method.full_name(), bytes.len(), short_name::<T>());
    let message = format!("{what} of {name} has {found} bytes that are no {expected}: {error}");
    CallError::Status(Status::new(Code::DataLoss, message))
}

/// What a call fails with, on either side, when something cannot be encoded.
pub(crate) fn unsendable(method: &MethodInfo, what: &str, error: &EncodeError) -> Status {
    Status::new(Code::Internal, format!("{what} of {} cannot be encoded: {error}", method.full_name()))
}

/// The name of a type without the paths in it: `Option<Vec<u8>>`.
fn short_name<T>() -> String {
    let mut short = String::new();
    for part in std::any::type_name::<T>().split_inclusive(|c: char| !c.is_alphanumeric() && c != '_' && c != ':') {
        short.push_str(part.rsplit("::").next().unwrap_or(part));
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_one_form_however_they_are_written() {
        let bytes = vec![1u8, 2, 200];
        let one_by_one = encode(&bytes).unwrap();
        assert_eq!(*encode(serde_bytes::Bytes::new(&bytes)).unwrap(), *one_by_one);
        assert_eq!(decode::<serde_bytes::ByteBuf>(&one_by_one).unwrap().into_vec(), bytes);
        assert_eq!(decode::<&[u8]>(&one_by_one).unwrap(), bytes);
    }

    #[test]
    fn arguments_are_encoded_as_their_struct_would_be() {
        #[derive(Serialize)]
        struct Add {
            a: i64,
            b: String,
        }
        let add = Add { a: -3, b: "x".to_owned() };
        assert_eq!(*encode(&add).unwrap(), *encode(&(&add.a, &add.b)).unwrap());
        assert!(encode(&()).unwrap().is_empty());
    }

    #[test]
    fn what_follows_a_value_is_an_error() {
        assert_eq!(decode::<u8>(&[1]), Ok(1));
        assert_eq!(decode::<u8>(&[1, 2, 3]), Err(DecodeError::Trailing { left: 2 }));
        assert_eq!(decode::<()>(&[0]), Err(DecodeError::Trailing { left: 1 }));
        assert!(matches!(decode::<u16>(&[0xff]), Err(DecodeError::Malformed(_))));
    }

    #[test]
    fn a_short_name_has_no_paths() {
        assert_eq!(short_name::<Result<Option<Vec<u8>>, (String, &str)>>(), "Result<Option<Vec<u8>>, (String, &str)>");
    }
}
