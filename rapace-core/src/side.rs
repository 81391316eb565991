//! Which of the two peers one is.

use std::fmt;

use crate::layout::{MAGIC_A, MAGIC_B};

/// One of the two peers of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The host: makes the memory and opens odd channels.
    A,
    /// The plugin: receives the memory and opens even channels.
    B,
}

impl Side {
    /// The other one.
    pub fn peer(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// The lowest bit of the channels that this side opens.
    pub fn parity(self) -> u32 {
        match self {
            Self::A => 1,
            Self::B => 0,
        }
    }

    /// The magic word of this side's half.
    pub fn magic(self) -> u64 {
        match self {
            Self::A => MAGIC_A,
            Self::B => MAGIC_B,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::B => "B",
        })
    }
}
