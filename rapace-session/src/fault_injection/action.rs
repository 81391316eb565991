//! What a fault does to a call.

use std::fmt;
use std::time::Duration;

use crate::status::Code;

/// What is done to a call. `FaultRule` says to which, and the [module](super) what the caller sees of it on either side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultAction {
    /// The call begins so much later.
    Delay(Duration),
    /// The call is never answered: its deadline ends it, or the end of the session.
    Drop,
    /// The reply has other bytes.
    Corrupt,
    /// The request has other bytes.
    CorruptRequest,
    /// There is no room for the call.
    Exhaust,
    /// The call is answered with a status of this code.
    Error(Code),
    /// The plugin's process is killed before the call runs.
    Kill,
    /// The plugin's process is killed when the call has run, and before the caller has the reply.
    KillAfter,
    /// The plugin's process is killed before the item of this number, from 1, is sent to the caller.
    KillAtItem(u64),
    /// The item of this number, from 1, and those behind it, are sent to the caller so much later.
    DelayAtItem(u64, Duration),
}

impl FaultAction {
    /// The word for it in a plan, without a number of an item.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Delay(_) | Self::DelayAtItem(..) => "delay",
            Self::Drop => "drop",
            Self::Corrupt => "corrupt",
            Self::CorruptRequest => "corrupt-request",
            Self::Exhaust => "exhaust",
            Self::Error(_) => "error",
            Self::Kill | Self::KillAtItem(_) => "kill",
            Self::KillAfter => "kill-after",
        }
    }

    /// The item before which it is done.
    pub(super) fn item(self) -> Option<u64> {
        match self {
            Self::KillAtItem(item) | Self::DelayAtItem(item, _) => Some(item),
            _ => None,
        }
    }

    /// The word and its value.
    pub(super) fn head(self) -> Head {
        Head(self)
    }
}

/// An action without its item.
pub(super) struct Head(FaultAction);

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.word())?;
        match self.0 {
            FaultAction::Delay(time) | FaultAction::DelayAtItem(_, time) => write!(f, "={}", Time(time)),
            FaultAction::Error(code) => write!(f, "={code}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for FaultAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head().fmt(f)?;
        self.item().map_or(Ok(()), |item| write!(f, " item {item}"))
    }
}

/// A time as a plan has it: a whole number of the largest unit that fits.
struct Time(Duration);

/// The units of times, the smallest last.
pub(super) const UNITS: [(&str, u128); 4] = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000), ("ns", 1)];

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        let whole = UNITS.iter().find(|(_, unit)| nanos.is_multiple_of(*unit));
        let (name, unit) = whole.copied().unwrap_or(("ns", 1));
        write!(f, "{}{name}", nanos / unit)
    }
}
