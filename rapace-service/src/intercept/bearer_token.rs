//! The caller's side of authorization: says who calls.

use std::fmt;

use rapace_session::{Code, Status};
use thiserror::Error;

use super::Interceptor;
use super::call::CallStart;

/// The key of the metadata that carry a token.
pub(crate) const AUTHORIZATION: &str = "authorization";

/// Longest token, in bytes: it travels with every call.
const TOKEN_BYTES_MAX: usize = 4096;

/// Adds `authorization: Bearer <token>` to the metadata of each call that has no `authorization` yet.
///
/// It belongs on the caller's side; on the callee's it does nothing.
#[derive(Clone)]
pub struct BearerToken {
    value: String,
}

/// A text that is no token. It is not shown, because it may have been meant as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It is empty or too long.
    #[error("a token of {found} bytes, but it must have 1 to {bound}")]
    Length {
        /// Its bytes.
        found: usize,
        /// Most bytes.
        bound: usize,
    },
    /// It has a character that a token cannot have.
    #[error("a token whose byte {at} is not a letter, a digit or one of -._~+/=")]
    Character {
        /// Where.
        at: usize,
    },
}

impl BearerToken {
    /// Calls with this token, of the characters that RFC 6750 gives it.
    ///
    /// # Errors
    ///
    /// When it is empty or too long, or has another character.
    pub fn new(token: &str) -> Result<Self, TokenError> {
        check_token(token)?;
        Ok(Self { value: format!("Bearer {token}") })
    }
}

impl Interceptor for BearerToken {
    fn begin(&self, call: &mut CallStart<'_>) -> Result<(), Status> {
        match call.metadata_mut() {
            Some(metadata) if metadata.get(AUTHORIZATION).is_none() => metadata
                .insert(AUTHORIZATION, self.value.as_bytes())
                .map_err(|error| Status::new(Code::Internal, error.to_string())),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerToken").finish_non_exhaustive()
    }
}

pub(crate) fn check_token(token: &str) -> Result<(), TokenError> {
    if token.is_empty() || token.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::Length { found: token.len(), bound: TOKEN_BYTES_MAX });
    }
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    match token.bytes().position(|byte| !known(byte)) {
        Some(at) => Err(TokenError::Character { at }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use rapace_session::Metadata;

    use super::super::tests::{GET, peer};
    use super::*;

    #[test]
    fn the_token_goes_into_the_metadata_unless_there_is_one() {
        let token = BearerToken::new("abc.DEF-1=").unwrap();
        let mut metadata = Metadata::new();
        token.begin(&mut CallStart::caller(&GET, &peer(), &mut metadata, None, 0)).unwrap();
        assert_eq!(metadata.get(AUTHORIZATION), Some(&b"Bearer abc.DEF-1="[..]));

        let mut own = Metadata::new();
        own.insert(AUTHORIZATION, "Basic xyz").unwrap();
        token.begin(&mut CallStart::caller(&GET, &peer(), &mut own, None, 0)).unwrap();
        assert_eq!(own.iter().collect::<Vec<_>>(), [(AUTHORIZATION, &b"Basic xyz"[..])]);
    }

    #[test]
    fn what_is_no_token_is_refused_and_a_token_is_not_shown() {
        assert_eq!(BearerToken::new("").unwrap_err(), TokenError::Length { found: 0, bound: 4096 });
        assert_eq!(BearerToken::new(&"x".repeat(4097)).unwrap_err(), TokenError::Length { found: 4097, bound: 4096 });
        for text in ["abc def", "abc\n", "abcü"] {
            assert_eq!(BearerToken::new(text).unwrap_err(), TokenError::Character { at: 3 }, "{text}");
        }
        assert!(!format!("{:?}", BearerToken::new("secret").unwrap()).contains("secret"));
    }
}
