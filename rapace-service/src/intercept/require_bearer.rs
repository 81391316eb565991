//! The callee's side of authorization: asks who calls.

use std::fmt;
use std::hint::black_box;

use rapace_session::{Code, Status};
use sha2::{Digest as _, Sha256};

use super::Interceptor;
use super::bearer_token::{AUTHORIZATION, TokenError, check_token};
use super::call::{CallSide, CallStart};

/// Lets only calls pass that carry one of the known tokens, as [`BearerToken`](super::BearerToken) adds it.
///
/// Digests of the tokens are kept and compared, each of them to its last byte, so that the time that it takes tells
/// nothing of a token's length or content. It belongs on the callee's side; on the caller's it does nothing.
#[derive(Clone)]
pub struct RequireBearer {
    digests: Vec<[u8; 32]>,
    exempt: Vec<String>,
}

impl RequireBearer {
    /// Knows these tokens; without any, it refuses every call that is not exempt.
    ///
    /// # Errors
    ///
    /// When one of them is no token.
    pub fn new<T: AsRef<str>>(tokens: impl IntoIterator<Item = T>) -> Result<Self, TokenError> {
        let digest = |token: T| check_token(token.as_ref()).map(|()| digest(token.as_ref().as_bytes()));
        Ok(Self { digests: tokens.into_iter().map(digest).collect::<Result<_, _>>()?, exempt: Vec::new() })
    }

    /// Lets calls of this method pass without a token: its full name, such as `demo.Kv.get`.
    #[must_use]
    pub fn exempt(mut self, method: impl Into<String>) -> Self {
        self.exempt.push(method.into());
        self
    }

    fn knows(&self, token: &[u8]) -> bool {
        let presented = digest(token);
        let same = |known: &[u8; 32]| {
            let differing = known.iter().zip(presented).fold(0, |bits, (a, b)| black_box(bits | (a ^ b)));
            black_box(differing == 0)
        };
        self.digests.iter().fold(false, |found, known| black_box(found | same(known)))
    }
}

impl Interceptor for RequireBearer {
    fn begin(&self, call: &mut CallStart<'_>) -> Result<(), Status> {
        let name = call.method().full_name();
        if call.side() == CallSide::Caller || self.exempt.iter().any(|exempt| name.is(exempt)) {
            return Ok(());
        }
        let refused = |what| Err(Status::new(Code::Unauthenticated, format!("{name} wants a bearer token: {what}")));
        match call.metadata().get(AUTHORIZATION).map(bearer) {
            None => refused("the metadata have no \"authorization\""),
            Some(None) => refused("\"authorization\" does not say \"Bearer <token>\""),
            Some(Some(token)) if !self.knows(token) => refused("this one is not known"),
            Some(Some(_)) => Ok(()),
        }
    }
}

impl fmt::Debug for RequireBearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireBearer")
            .field("tokens", &self.digests.len())
            .field("exempt", &self.exempt)
            .finish_non_exhaustive()
    }
}

/// The token behind the scheme, whose case does not matter.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

fn digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use rapace_session::Metadata;

    use super::super::tests::{GET, SET, peer};
    use super::*;

    #[track_caller]
    fn check(authorization: Option<&str>, expected: Result<(), &str>) {
        let require = RequireBearer::new(["first", "second"]).unwrap().exempt("demo.Kv.set").exempt("demo.Kv.ge");
        let mut metadata = Metadata::new();
        if let Some(value) = authorization {
            metadata.insert(AUTHORIZATION, value).unwrap();
        }
        let outcome = require.begin(&mut CallStart::callee(&GET, &peer(), &metadata, None, 0));
        let expected = expected
            .map_err(|what| Status::new(Code::Unauthenticated, format!("demo.Kv.get wants a bearer token: {what}")));
        assert_eq!(outcome, expected);
        assert_eq!(require.begin(&mut CallStart::callee(&SET, &peer(), &metadata, None, 0)), Ok(()));
        assert_eq!(require.begin(&mut CallStart::caller(&GET, &peer(), &mut metadata, None, 0)), Ok(()));
    }

    #[test]
    fn only_known_tokens_pass() {
        check(Some("Bearer first"), Ok(()));
        check(Some("bearer second"), Ok(()));
        for unknown in ["Bearer third", "Bearer ", "Bearer firs", "Bearer first ", "Bearer firstfirst"] {
            check(Some(unknown), Err("this one is not known"));
        }
        for other in ["Basic first", "Bearer", "first", ""] {
            check(Some(other), Err("\"authorization\" does not say \"Bearer <token>\""));
        }
        check(None, Err("the metadata have no \"authorization\""));
    }

    #[test]
    fn a_digest_that_differs_in_one_byte_is_another() {
        let require = RequireBearer::new(["first"]).unwrap();
        assert!(require.knows(b"first"));
        for byte in 0..32 {
            let mut other = require.clone();
            other.digests[0][byte] ^= 1;
            assert!(!other.knows(b"first"), "byte {byte}");
        }
    }

    #[test]
    fn without_tokens_nobody_passes() {
        let require = RequireBearer::new([""; 0]).unwrap();
        let mut metadata = Metadata::new();
        metadata.insert(AUTHORIZATION, "Bearer ").unwrap();
        let refused = require.begin(&mut CallStart::callee(&GET, &peer(), &metadata, None, 0)).unwrap_err();
        assert_eq!(refused.code, Code::Unauthenticated);
        assert_eq!(RequireBearer::new([""]).unwrap_err(), TokenError::Length { found: 0, bound: 4096 });
    }
}
