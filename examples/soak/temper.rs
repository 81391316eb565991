//! How plugins behave, what they do at their worst, and how they then have to end.

use std::fmt;

use clap::ValueEnum;

/// The exit code of a plugin that leaves in the middle of its work.
pub(crate) const LEAVES: i32 = 7;
/// The exit code of one that has rung for long, but no oftener than its host has slept (SPEC K7).
pub(crate) const NO_BELL_TOO_MANY: i32 = 6;
/// The exit code of one that leaves before the handshake.
pub(crate) const NEVER_STARTS: i32 = 9;

/// How a plugin behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Temper {
    /// Answers every call, in time and right.
    Good,
    /// Takes its time, with the thread that has the call.
    Slow,
    /// Ends in the middle of its work.
    Crashing,
    /// Goes on without answering.
    Hanging,
    /// Breaks the protocol's rules.
    Lying,
}

/// What a plugin does at the end of a life.
#[rapace::message]
#[derive(Copy)]
pub(crate) enum Trick {
    /// None: it is shut down in order.
    Nothing,
    /// Leaves with an exit code.
    Leave,
    Abort,
    /// Is killed by a signal of its own.
    Kill,
    /// A mistake in its arithmetic.
    Fpe,
    /// Its host kills it.
    KilledByHost,
    /// Stops all its threads.
    Stop,
    /// A handler keeps the thread that serves, for ever.
    Block,
    /// Handlers wait for what never comes; the session is in order.
    Silence,
    /// A sequence word that is not due.
    Jump,
    /// Random words all over its half.
    Scribble,
    /// Random descriptors.
    Descriptors,
    /// Slots given back that it never had.
    Returns,
    /// More taken from the ring than was ever in it.
    Progress,
    /// A state that there is not.
    State,
    /// A reply to no call.
    NoCall,
    /// Bells without number.
    Bells,
    /// A message on the socket that means nothing.
    Datagram,
    /// Replies that hold something else.
    Rubbish,
    /// Neither reads nor answers.
    Mute,
}

/// How a host finds out that a life is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// The plugin ends, or is ended for a fault.
    Ends,
    /// It makes no progress, and has to be killed.
    Hangs,
    /// It goes on as a plugin should, and is shut down.
    Survives,
}

/// How a life ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It was shut down in order.
    Stopped,
    /// By itself, with this code.
    Exit(i32),
    /// By a signal, its own or from outside.
    Signal(i32),
    /// It broke this rule, and was killed.
    Fault(&'static str),
    /// It made no progress, and was killed.
    Unresponsive,
    /// Before the handshake.
    NotStarted,
    /// In a way that was never to be expected.
    Other(String),
}

impl Temper {
    /// The temper of the plugin of this index.
    pub(crate) fn of(index: usize) -> Self {
        // A second good one, so that there is always a neighbour.
        let turns = [Self::Good, Self::Crashing, Self::Lying, Self::Hanging, Self::Slow, Self::Lying, Self::Good];
        turns[index % turns.len()]
    }

    /// Its name in arguments.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Slow => "slow",
            Self::Crashing => "crashing",
            Self::Hanging => "hanging",
            Self::Lying => "lying",
        }
    }

    /// What it can do at the end of a life.
    pub(crate) fn tricks(self) -> &'static [Trick] {
        use Trick::*;
        match self {
            Self::Good | Self::Slow => &[Nothing],
            Self::Crashing => &[Leave, Abort, Kill, Fpe, KilledByHost, Nothing],
            Self::Hanging => &[Stop, Block, Silence],
            Self::Lying => {
                &[Jump, Scribble, Descriptors, Returns, Progress, State, NoCall, Bells, Datagram, Rubbish, Mute]
            }
        }
    }
}

impl Trick {
    /// What is to come of it.
    pub(crate) fn outlook(self) -> Outlook {
        match self {
            Self::Stop | Self::Block | Self::Mute => Outlook::Hangs,
            Self::Nothing | Self::Silence | Self::Rubbish => Outlook::Survives,
            _ => Outlook::Ends,
        }
    }

    /// Whether a life may end so behind this trick.
    pub(crate) fn allows(self, end: &End) -> bool {
        match (self, end) {
            (Self::Nothing | Self::Silence | Self::Rubbish, End::Stopped) => true,
            (Self::Leave, End::Exit(LEAVES)) => true,
            (Self::Abort, End::Signal(6)) | (Self::Fpe, End::Signal(8)) => true,
            (Self::Kill | Self::KilledByHost, End::Signal(9)) => true,
            (Self::Stop | Self::Block | Self::Mute, End::Unresponsive) => true,
            (Self::Jump, End::Fault(rule)) => *rule == "D1",
            // Whatever is met first.
            (Self::Scribble | Self::Descriptors, End::Fault(_)) => true,
            (Self::Returns, End::Fault(rule)) => matches!(*rule, "S6" | "S7"),
            (Self::Progress, End::Fault(rule)) => *rule == "R4",
            (Self::State, End::Fault(rule)) => *rule == "L6",
            (Self::NoCall, End::Fault(rule)) => *rule == "C2",
            (Self::Bells, End::Fault(rule)) => *rule == "K7",
            (Self::Bells, End::Exit(NO_BELL_TOO_MANY)) => true,
            (Self::Datagram, End::Fault(rule)) => *rule == "K6",
            _ => false,
        }
    }
}

impl End {
    /// What ends are counted as.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Stopped => "in order",
            Self::Exit(_) => "exit",
            Self::Signal(_) => "signal",
            Self::Fault(_) => "fault",
            Self::Unresponsive => "hang",
            Self::NotStarted => "no start",
            Self::Other(_) => "other",
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "exit with {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::Fault(rule) => write!(f, "fault {rule}"),
            Self::Other(what) => f.write_str(what),
            _ => f.write_str(self.kind()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trick_allows_its_own_end_and_no_other() {
        let ends = [
            (Trick::Nothing, End::Stopped),
            (Trick::Leave, End::Exit(LEAVES)),
            (Trick::Abort, End::Signal(6)),
            (Trick::Stop, End::Unresponsive),
            (Trick::Progress, End::Fault("R4")),
        ];
        for (trick, _) in &ends {
            for (other, end) in &ends {
                assert_eq!(trick.allows(end), trick == other, "{trick:?} and {end}");
            }
        }
        assert!(!Trick::Leave.allows(&End::Exit(0)));
        assert!(!Trick::Progress.allows(&End::Fault("D1")));
    }

    #[test]
    fn the_first_plugin_is_good_and_seven_have_all_tempers() {
        assert_eq!(Temper::of(0), Temper::Good);
        let tempers: Vec<Temper> = (0..7).map(Temper::of).collect();
        assert!(Temper::value_variants().iter().all(|temper| tempers.contains(temper)));
    }
}
