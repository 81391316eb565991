//! How a call or a session ends badly, by blame.

use std::fmt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::fault::Fault;
use crate::process::describe_exit;
use crate::status::{Code, Status};

/// Why a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionEnd {
    /// This side closed it.
    Closed,
    /// The peer closed it, with its reason.
    PeerClosed(Status),
    /// The peer is gone: its process, if it is known, ended like this.
    PeerGone(Option<ExitStatus>),
    /// The peer broke a rule.
    Fault(Fault),
}

impl fmt::Display for SessionEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the session was closed"),
            Self::PeerClosed(status) => write!(f, "the peer closed the session: {status}"),
            Self::PeerGone(Some(exit)) => write!(f, "the peer is gone: its process {}", describe_exit(*exit)),
            Self::PeerGone(None) => f.write_str("the peer is gone: it closed its socket"),
            Self::Fault(fault) => write!(f, "the peer broke a rule of the protocol: {fault}"),
        }
    }
}

/// Why a call did not get a reply.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CallError {
    /// The handler, or the peer on its behalf, answered with an error.
    #[error("{0}")]
    Status(Status),
    /// The time that the caller gave was over first. The call may have been run.
    #[error("no reply within {waited:?}")]
    DeadlineExceeded {
        /// The time that the caller gave.
        waited: Duration,
    },
    /// The time that the caller gave was over before there was room for the request: in the ring, in the slots, or among the
    /// calls that the peer takes at once. It has not been sent.
    #[error("no room for the request within {waited:?}, so it was not sent")]
    NoRoom {
        /// The time that the caller gave.
        waited: Duration,
    },
    /// The session ended first.
    #[error("{end}{}", if *.sent { "" } else { ", so the call was not sent" })]
    SessionEnded {
        /// Why.
        end: Arc<SessionEnd>,
        /// Whether the whole request had been sent by then. If so, the call may have been run.
        sent: bool,
    },
    /// The time of the call, or that in which a session was to come, was over before there was one. It has not been sent.
    #[error("no session within {waited:?}, so the call was not sent")]
    NoSession {
        /// How long it has waited.
        waited: Duration,
    },
    /// The session takes no more calls: its peer has said so, perhaps of this very call, or this side makes no more, or there
    /// is no session. The call has not been run.
    #[error("the call was not run: {reason}")]
    Refused {
        /// Why.
        reason: Status,
    },
    /// The peers mean different things by this method. The call has not been sent.
    #[error("the peers differ over this method: {difference}")]
    Incompatible {
        /// In what, line by line.
        difference: Arc<str>,
    },
    /// The request, or an item, is larger than the peer takes. It has not been sent.
    #[error("{what} has {found} bytes, but the peer takes {bound}")]
    TooLarge {
        /// The body, the metadata, or an item.
        what: &'static str,
        /// Its size.
        found: usize,
        /// What the peer takes.
        bound: usize,
    },
    /// The call would be nested deeper than the peer takes. It has not been sent.
    #[error("the call is nested {found} deep, but the peer takes {bound}")]
    TooDeep {
        /// Its depth.
        found: u32,
        /// What the peer takes.
        bound: u8,
    },
    /// There is no room at present, and the caller does not want to wait. It has not been sent.
    #[error("the call would have to wait for room")]
    WouldBlock,
}

impl CallError {
    /// The canonical code of this failure.
    pub fn code(&self) -> Code {
        match self {
            Self::Status(status) => status.code,
            Self::DeadlineExceeded { .. } | Self::NoRoom { .. } | Self::NoSession { .. } => Code::DeadlineExceeded,
            Self::SessionEnded { .. } | Self::Refused { .. } => Code::Unavailable,
            Self::Incompatible { .. } => Code::FailedPrecondition,
            Self::TooLarge { .. } | Self::TooDeep { .. } | Self::WouldBlock => Code::ResourceExhausted,
        }
    }

    /// Whether the call may have been run, wholly or in part. One that was not sent has not.
    pub fn may_have_run(&self) -> bool {
        match self {
            Self::Status(_) | Self::DeadlineExceeded { .. } => true,
            Self::SessionEnded { sent, .. } => *sent,
            Self::Refused { .. }
            | Self::NoRoom { .. }
            | Self::NoSession { .. }
            | Self::Incompatible { .. }
            | Self::TooLarge { .. }
            | Self::TooDeep { .. }
            | Self::WouldBlock => false,
        }
    }

    /// The session's end, if that is what failed the call.
    pub fn session_end(&self) -> Option<&SessionEnd> {
        match self {
            Self::SessionEnded { end, .. } => Some(end),
            _ => None,
        }
    }
}
