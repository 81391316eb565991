//! How a call of a method that may fail by itself ends badly.

use std::fmt;

use rapace_session::CallError;

/// Why a method that returns `Result<T, E>` gave no `T`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error<E> {
    /// The method says so.
    Service(E),
    /// There is no reply.
    Call(CallError),
}

impl<E> From<CallError> for Error<E> {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(error) => error.fmt(f),
            Self::Call(error) => error.fmt(f),
        }
    }
}

// Of any `E` that can be shown, so that `Result<T, String>` will do.
impl<E: fmt::Debug + fmt::Display> std::error::Error for Error<E> {}

impl<E> Error<E> {
    /// The method's own error.
    ///
    /// # Errors
    ///
    /// The call's, if that is what failed.
    pub fn into_service(self) -> Result<E, CallError> {
        match self {
            Self::Service(error) => Ok(error),
            Self::Call(error) => Err(error),
        }
    }
}

/// One result of both.
pub fn flatten<T, E>(reply: Result<Result<T, E>, CallError>) -> Result<T, Error<E>> {
    reply?.map_err(Error::Service)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_keeps_its_kind() {
        let reply = |reply: Result<Result<u8, String>, CallError>| flatten(reply);
        assert_eq!(reply(Ok(Ok(1))), Ok(1));
        assert_eq!(reply(Ok(Err("no".to_owned()))), Err(Error::Service("no".to_owned())));
        assert_eq!(reply(Err(CallError::WouldBlock)), Err(Error::Call(CallError::WouldBlock)));
        assert_eq!(Error::<String>::from(CallError::WouldBlock).into_service(), Err(CallError::WouldBlock));
    }
}
