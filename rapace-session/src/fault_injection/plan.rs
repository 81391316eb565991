//! Which calls meet which faults.

use std::fmt;
use std::str::FromStr;

use super::action::FaultAction;
use super::chance::{falls, mix};
use super::parse::{PlanError, parse};
use crate::served::LIFECYCLE_METHODS;

/// A seed, and rules for calls. Made by methods or from text (the [module](super) has its form), and shown as that text.
///
/// The first rule that hits a call decides its fate.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FaultPlan {
    pub(super) seed: u64,
    pub(super) rules: Vec<FaultRule>,
}

impl FaultPlan {
    /// The variable in whose value a plugin finds its plan.
    pub const VARIABLE: &str = "RAPACE_FAULTS";

    /// No rules yet, and the seed 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with another seed: with other fates, as far as they depend on chance.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The same with one more rule, which is asked last.
    #[must_use]
    pub fn rule(mut self, rule: FaultRule) -> Self {
        self.rules.push(rule);
        self
    }

    /// The seed.
    #[must_use]
    pub fn get_seed(&self) -> u64 {
        self.seed
    }

    /// The rules, in the order in which they are asked.
    pub fn rules(&self) -> &[FaultRule] {
        &self.rules
    }
}

impl FromStr for FaultPlan {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        parse(text)
    }
}

impl fmt::Display for FaultPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed={}", self.seed)?;
        self.rules.iter().try_for_each(|rule| write!(f, "; {rule}"))
    }
}

/// On which side of a call the faults are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultSide {
    /// Where it is made.
    Calling,
    /// Where it is served.
    Serving,
}

/// Which method a rule is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// All but those of the lifecycle.
    All,
    Id(u32),
    /// `service.method`.
    Name(String),
}

/// What is done to which calls: without more than an action, to all but `initialize` and `shutdown`.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct FaultRule {
    pub(super) action: FaultAction,
    pub(super) chance: f64,
    pub(super) target: Target,
    pub(super) side: Option<FaultSide>,
    pub(super) nth: Option<u64>,
    pub(super) times: Option<u64>,
}

impl FaultRule {
    /// Does this to all calls, on either side.
    pub fn new(action: FaultAction) -> Self {
        Self { action, chance: 1.0, target: Target::All, side: None, nth: None, times: None }
    }

    /// Only with this chance, from 0 to 1; what is beyond counts as the nearer of the two, and what is no number as 0.
    pub fn chance(mut self, chance: f64) -> Self {
        self.chance = if chance.is_nan() { 0.0 } else { chance.clamp(0.0, 1.0) };
        self
    }

    /// Only to the method of this id.
    pub fn method(mut self, id: u32) -> Self {
        self.target = Target::Id(id);
        self
    }

    /// Only to the method of this full name, such as `demo.Storage.get`.
    pub fn method_named(mut self, full_name: impl Into<String>) -> Self {
        self.target = Target::Name(full_name.into());
        self
    }

    /// Only on this side of calls.
    pub fn side(mut self, side: FaultSide) -> Self {
        self.side = Some(side);
        self
    }

    /// Only to the call of this number, from 1, of each method.
    pub fn nth(mut self, call: u64) -> Self {
        self.nth = Some(call);
        self
    }

    /// At most to so many calls of each method.
    pub fn times(mut self, calls: u64) -> Self {
        self.times = Some(calls);
        self
    }

    /// What it does.
    pub fn action(&self) -> FaultAction {
        self.action
    }

    /// The name by which it knows its method, if it does.
    pub(super) fn name(&self) -> Option<&str> {
        match &self.target {
            Target::Name(name) => Some(name),
            Target::All | Target::Id(_) => None,
        }
    }

    /// Whether it hits this call, which is the one of this number of its method; `hits` of that method's were hit before.
    pub(super) fn hits(&self, call: &Asked<'_>, number: u64, hits: u64, seed: u64, place: usize) -> bool {
        let is_for = match &self.target {
            Target::All => !LIFECYCLE_METHODS.contains(&call.method),
            Target::Id(id) => *id == call.method,
            Target::Name(name) => call.name.as_deref() == Some(name),
        };
        // Items are the callee's, and are counted by whoever sends them.
        let has_item = self.action.item().is_none() || call.side == FaultSide::Serving;
        is_for
            && has_item
            && self.side.is_none_or(|side| side == call.side)
            && self.nth.is_none_or(|nth| nth == number)
            && self.times.is_none_or(|times| hits < times)
            && falls(mix(&[seed, place as u64, call.side as u64, call.method.into(), number]), self.chance)
    }
}

/// A call that a plan is asked about.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) side: FaultSide,
    pub(super) peer: &'a str,
    pub(super) method: u32,
    /// The method's full name, if it is known.
    pub(super) name: Option<String>,
}

impl fmt::Display for FaultRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.action.head().fmt(f)?;
        if self.chance < 1.0 {
            write!(f, "@{}", self.chance)?;
        }
        match &self.target {
            Target::All => {}
            Target::Id(id) => write!(f, " of {id}")?,
            Target::Name(name) => write!(f, " of {name}")?,
        }
        match self.side {
            None => {}
            Some(FaultSide::Calling) => f.write_str(" calling")?,
            Some(FaultSide::Serving) => f.write_str(" serving")?,
        }
        for (word, number) in [("nth", self.nth), ("times", self.times), ("item", self.action.item())] {
            number.map_or(Ok(()), |number| write!(f, " {word} {number}"))?;
        }
        Ok(())
    }
}
