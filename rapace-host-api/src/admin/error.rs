//! Why an operator does not get what he asks for.

use rapace_macros::message;
use thiserror::Error;

/// Why an operator does not get what he asks for.
#[message(crate = "rapace_service")]
#[derive(Eq, Error)]
pub enum AdminError {
    /// There is no such plugin.
    #[error("there is no plugin {name:?}")]
    UnknownPlugin {
        /// Its name.
        name: String,
    },
    /// The plugin takes no calls.
    #[error("plugin {plugin} is {state}")]
    NotRunning {
        /// Its name.
        plugin: String,
        /// Where it is in its life.
        state: String,
    },
    /// The plugin has no such method, or several.
    #[error("{problem}")]
    UnknownMethod {
        /// What is wrong with the name.
        problem: String,
    },
    /// What is to be sent is not what the method takes, or not JSON.
    #[error("{problem}")]
    WrongArgument {
        /// What is wrong with it, and where.
        problem: String,
    },
    /// The call has failed.
    #[error("{code}: {message}")]
    CallFailed {
        /// The name of its status code.
        code: String,
        /// What is said beside it.
        message: String,
    },
    /// The plugin does not start.
    #[error("{problem}")]
    NotStarted {
        /// Why not.
        problem: String,
    },
    /// The new version has not taken the place of the old one, which goes on.
    #[error("{problem}")]
    NotReloaded {
        /// Why not.
        problem: String,
    },
    /// The host is shutting down.
    #[error("the host is shutting down")]
    ShuttingDown,
    /// What is stored cannot be looked at, or is not removed.
    #[error("{problem}")]
    Storage {
        /// Why not.
        problem: String,
    },
}
