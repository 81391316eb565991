//! The rules that a lying peer breaks, and their numbers in a call of [`crate::method::LIE`].

/// A way to break a rule of SPEC.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the rule says it")]
pub enum Lie {
    D1,
    D2,
    D3,
    D4,
    D5,
    D6,
    D8,
    D9,
    C1,
    C2,
    C12,
    M2,
    X1,
    X2,
    R4,
    S6,
    S7,
    L6,
    K6,
    K7,
}

impl Lie {
    /// All of them.
    pub const ALL: [Self; 20] = {
        use Lie::*;
        [D1, D2, D3, D4, D5, D6, D8, D9, C1, C2, C12, M2, X1, X2, R4, S6, S7, L6, K6, K7]
    };

    /// Its number in a call.
    pub fn number(self) -> u64 {
        self as u64
    }

    /// The lie of a number.
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|lie| lie.number() == number)
    }

    /// The name of the rule.
    pub fn rule(self) -> String {
        format!("{self:?}")
    }

    /// Whether a peer may go on after it (SPEC F2).
    pub fn is_tolerable(self) -> bool {
        use Lie::*;
        matches!(self, D2 | D3 | D4 | D5 | D6 | D8 | D9 | C1 | C2 | C12 | M2 | X1)
    }
}
