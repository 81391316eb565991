//! What a call has met.

use std::fmt;
use std::sync::Arc;

use super::action::FaultAction;
use super::plan::FaultSide;

/// A call that a rule has hit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fate {
    /// On which side of the call.
    pub side: FaultSide,
    /// The name of the peer.
    pub peer: Arc<str>,
    /// The id of the method.
    pub method: u32,
    /// Its full name, if the services of the two sides say it.
    pub name: Option<Arc<str>>,
    /// Which call of this method it was, from 1: counted for each side and peer.
    pub call: u64,
    /// Which rule of the plan, from 1.
    pub rule: usize,
    /// What it did.
    pub action: FaultAction,
    /// What the bytes of a corrupt message follow from.
    pub(super) number: u64,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by rule {}: call {} of ", self.action, self.rule, self.call)?;
        match &self.name {
            Some(name) => write!(f, "{name}")?,
            None => write!(f, "method {}", self.method)?,
        }
        let direction = match self.side {
            FaultSide::Calling => "to",
            FaultSide::Serving => "from",
        };
        write!(f, " {direction} {}", self.peer)
    }
}
