//! Plans from text: one line, such as the value of a variable.

use std::time::Duration;

use thiserror::Error;

use super::action::{FaultAction, UNITS};
use super::plan::{FaultPlan, FaultRule, FaultSide};
use crate::status::Code;

/// A text that is no plan.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("part {part} of the plan, `{text}`: found {found}, expected {expected}")]
pub struct PlanError {
    /// Which of the parts between semicolons it is, from 1.
    pub part: usize,
    /// That part.
    pub text: String,
    /// What stands there.
    pub found: String,
    /// What could stand there.
    pub expected: String,
}

/// What stands somewhere, and what could.
struct Mistake {
    found: String,
    expected: String,
}

impl Mistake {
    fn new(found: &str, expected: impl Into<String>) -> Self {
        let found = if found.is_empty() { "nothing".to_owned() } else { format!("`{found}`") };
        Self { found, expected: expected.into() }
    }
}

const ACTIONS: &str =
    "seed=N or one of delay=TIME, drop, corrupt, corrupt-request, exhaust, error=CODE, kill, kill-after";
const WORDS: &str = "of METHOD, calling, serving, nth N, times N or item N, each at most once";

pub(super) fn parse(text: &str) -> Result<FaultPlan, PlanError> {
    let mut plan = FaultPlan::new();
    let mut seeded = false;
    for (index, part) in text.split(';').map(str::trim).enumerate().filter(|(_, part)| !part.is_empty()) {
        let parsed = match part.strip_prefix("seed=") {
            Some(_) if seeded => Err(Mistake::new(part, "one seed")),
            Some(seed) => number(seed, "a seed from 0 to 18446744073709551615").map(|seed| {
                seeded = true;
                plan.seed = seed;
            }),
            None => rule(part).map(|rule| plan.rules.push(rule)),
        };
        parsed.map_err(|Mistake { found, expected }| {
            let (part, text) = (index + 1, part.to_owned());
            PlanError { part, text, found, expected }
        })?;
    }
    Ok(plan)
}

fn rule(text: &str) -> Result<FaultRule, Mistake> {
    let mut words = text.split_whitespace();
    let head = words.next().unwrap_or_default();
    let (named, chance) = match head.split_once('@') {
        Some((named, chance)) => (named, self::chance(chance)?),
        None => (head, 1.0),
    };
    let mut rule = FaultRule::new(action(named)?).chance(chance);
    let mut seen: Vec<&str> = Vec::new();
    while let Some(word) = words.next() {
        // Both say the same thing.
        let kind = if word == "serving" { "calling" } else { word };
        if seen.contains(&kind) {
            return Err(Mistake::new(word, WORDS));
        }
        seen.push(kind);
        rule = match word {
            "calling" => rule.side(FaultSide::Calling),
            "serving" => rule.side(FaultSide::Serving),
            "of" => method(rule, words.next().unwrap_or_default())?,
            "nth" => rule.nth(count(words.next())?),
            "times" => rule.times(count(words.next())?),
            "item" => FaultRule { action: at_item(rule.action, count(words.next())?)?, ..rule },
            _ => return Err(Mistake::new(word, WORDS)),
        };
    }
    Ok(rule)
}

fn action(text: &str) -> Result<FaultAction, Mistake> {
    let (word, value) = match text.split_once('=') {
        Some((word, value)) => (word, Some(value)),
        None => (text, None),
    };
    match (word, value) {
        ("delay", value) => time(value.unwrap_or_default()).map(FaultAction::Delay),
        ("error", value) => code(value.unwrap_or_default()).map(FaultAction::Error),
        ("drop", None) => Ok(FaultAction::Drop),
        ("corrupt", None) => Ok(FaultAction::Corrupt),
        ("corrupt-request", None) => Ok(FaultAction::CorruptRequest),
        ("exhaust", None) => Ok(FaultAction::Exhaust),
        ("kill", None) => Ok(FaultAction::Kill),
        ("kill-after", None) => Ok(FaultAction::KillAfter),
        _ => Err(Mistake::new(text, ACTIONS)),
    }
}

fn at_item(action: FaultAction, item: u64) -> Result<FaultAction, Mistake> {
    match action {
        FaultAction::Kill => Ok(FaultAction::KillAtItem(item)),
        FaultAction::Delay(time) => Ok(FaultAction::DelayAtItem(item, time)),
        other => Err(Mistake::new(&format!("item with {}", other.word()), "item with delay or kill")),
    }
}

fn method(rule: FaultRule, text: &str) -> Result<FaultRule, Mistake> {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return text.parse().map(|id| rule.method(id)).map_err(|_| Mistake::new(text, "a method's id"));
    }
    let parts = text.split('.');
    if text.contains('.') && parts.into_iter().all(|part| !part.is_empty()) {
        return Ok(rule.method_named(text));
    }
    Err(Mistake::new(text, "a method's id, or its full name such as demo.Storage.get"))
}

fn chance(text: &str) -> Result<f64, Mistake> {
    let parsed = text.parse().ok().filter(|chance| (0.0..=1.0).contains(chance));
    parsed.ok_or_else(|| Mistake::new(text, "a chance from 0 to 1"))
}

fn time(text: &str) -> Result<Duration, Mistake> {
    let wrong = || Mistake::new(text, "a time such as 10ms: a whole number with s, ms, us or ns");
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, name) = text.split_at(digits);
    let (_, unit) = UNITS.iter().find(|(unit, _)| *unit == name).ok_or_else(wrong)?;
    let nanos = number.parse::<u64>().ok().and_then(|number| u128::from(number).checked_mul(*unit));
    let time = nanos.and_then(|nanos| {
        let seconds = u64::try_from(nanos / 1_000_000_000).ok()?;
        Some(Duration::new(seconds, u32::try_from(nanos % 1_000_000_000).ok()?))
    });
    time.ok_or_else(wrong)
}

fn code(text: &str) -> Result<Code, Mistake> {
    let mut codes = (1..=16).map(Code::from_raw);
    codes.find(|code| code.to_string() == text).ok_or_else(|| Mistake::new(text, "a code such as Unavailable"))
}

fn count(text: Option<&str>) -> Result<u64, Mistake> {
    let text = text.unwrap_or_default();
    match number(text, "a number from 1")? {
        0 => Err(Mistake::new(text, "a number from 1")),
        number => Ok(number),
    }
}

fn number(text: &str, expected: &str) -> Result<u64, Mistake> {
    text.parse().map_err(|_| Mistake::new(text, expected))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    #[test]
    fn a_plan_is_read_as_it_is_shown() {
        let text = "seed=42; delay=10ms@0.5 of 2001; drop@0.1 of Storage.get; kill@0.01; error=NotFound calling nth 3; \
                    corrupt serving times 2; corrupt-request; exhaust; kill-after of a.b.C.d nth 1; \
                    delay=1500us of 7 item 2; kill of 7 item 3";
        let plan: FaultPlan = text.parse().unwrap();
        assert_eq!(plan.to_string(), text);
        assert_eq!(plan.get_seed(), 42);
        let second = FaultRule::new(FaultAction::Drop).chance(0.1).method_named("Storage.get");
        assert_eq!((plan.rules().len(), &plan.rules()[1]), (10, &second));
        assert_eq!(plan.rules()[9].action(), FaultAction::KillAtItem(3));
    }

    #[test]
    fn times_have_units_and_are_shown_in_the_largest() {
        for (text, shown) in [("1000ms", "1s"), ("250us", "250us"), ("0s", "0s"), ("61s", "61s"), ("5ns", "5ns")] {
            let plan: FaultPlan = format!("delay={text}").parse().unwrap();
            assert_eq!(plan.to_string(), format!("seed=0; delay={shown}"));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_plan_that_is_read_as_it_is_shown_or_an_error(
            parts in vec(select(&PIECES[..]).prop_map(str::to_owned).boxed().prop_union(".{0,3}".boxed()), 0..12)
        ) {
            if let Ok(plan) = parts.concat().parse::<FaultPlan>() {
                prop_assert_eq!(plan.to_string().parse(), Ok(plan));
            }
        }
    }

    const PIECES: [&str; 22] = [
        "seed=", "7", "0.5", "@", ";", " ", "drop", "corrupt", "delay=", "ms", "s", "error=", "Internal", "kill",
        "of ", "a.b", "serving", "nth ", "times ", "item ", "exhaust", "=",
    ];

    #[test]
    fn a_plan_may_be_empty_and_its_parts_may() {
        for text in ["", " ; ;", "seed=0;"] {
            assert_eq!(text.parse::<FaultPlan>(), Ok(FaultPlan::new()), "{text:?}");
        }
    }

    #[test]
    fn an_error_names_what_was_found_and_expected() {
        for (text, part, found, expected) in [
            ("drop; explode", 2, "`explode`", "seed=N or one of"),
            ("drop=3", 1, "`drop=3`", "seed=N or one of"),
            ("delay", 1, "nothing", "a time such as 10ms"),
            ("delay=10", 1, "`10`", "a time such as 10ms"),
            ("delay=10m", 1, "`10m`", "a time"),
            ("delay=99999999999999999999s", 1, "`99999999999999999999s`", "a time"),
            ("drop@1.5", 1, "`1.5`", "a chance from 0 to 1"),
            ("drop@NaN", 1, "`NaN`", "a chance"),
            ("drop@", 1, "nothing", "a chance"),
            ("error", 1, "nothing", "a code such as Unavailable"),
            ("error=Nope", 1, "`Nope`", "a code"),
            ("kill of", 1, "nothing", "a method's id, or its full name"),
            ("kill of get", 1, "`get`", "a method's id, or its full name"),
            ("kill of a..b", 1, "`a..b`", "a method's id, or its full name"),
            ("kill of 99999999999", 1, "`99999999999`", "a method's id"),
            ("kill nth 0", 1, "`0`", "a number from 1"),
            ("kill nth", 1, "nothing", "a number from 1"),
            ("drop item 2", 1, "`item with drop`", "item with delay or kill"),
            ("kill nth 1 nth 2", 1, "`nth`", "each at most once"),
            ("kill serving calling", 1, "`calling`", "each at most once"),
            ("kill now", 1, "`now`", "of METHOD, calling"),
            ("seed=x", 1, "`x`", "a seed from 0"),
            ("seed=1; drop; seed=2", 3, "`seed=2`", "one seed"),
        ] {
            let error = text.parse::<FaultPlan>().unwrap_err();
            assert_eq!((error.part, &*error.found), (part, found), "{text}: {error}");
            assert!(error.expected.contains(expected), "{text}: {error}");
            assert!(error.to_string().contains(&error.text), "{error}");
        }
    }
}
