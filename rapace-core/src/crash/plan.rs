//! What the variable says, and how far it has come.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use nix::sys::signal::{Signal, raise};

use super::Point;

/// The variable that arms points.
const VARIABLE: &str = "RAPACE_CRASH_AT";

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    point: Point,
    /// At this passage, from 1, counted from the step before.
    passage: u32,
    /// None, if only the next step is to be counted from here.
    signal: Option<Signal>,
}

/// All that happens, one after the other.
#[derive(Debug)]
struct Plan {
    steps: Vec<Step>,
    progress: Mutex<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    step: usize,
    passages: u32,
}

/// Nothing is armed, which most processes find out at their first point.
static DISARMED: AtomicBool = AtomicBool::new(false);

#[inline]
pub(super) fn is_armed() -> bool {
    // Publishes nothing: who sees it late asks the plan.
    !DISARMED.load(Ordering::Relaxed) && plan().is_some()
}

#[inline]
pub(super) fn pass(point: Point) {
    if !DISARMED.load(Ordering::Relaxed) {
        pass_armed(point);
    }
}

#[cold]
fn pass_armed(point: Point) {
    if let Some(signal) = plan().and_then(|plan| plan.pass(point)) {
        // To this thread, which goes no further; the kernel does the same to the others.
        let raised = raise(signal);
        debug_assert!(raised.is_ok(), "{signal} at {point:?}: {raised:?}");
    }
}

fn plan() -> Option<&'static Plan> {
    static PLAN: OnceLock<Option<Plan>> = OnceLock::new();
    let plan = PLAN.get_or_init(|| {
        let value = std::env::var(VARIABLE).ok()?;
        let steps = parse(&value);
        if steps.is_none() {
            tracing::error!(value, "{VARIABLE} is not understood");
        }
        Some(Plan { steps: steps?, progress: Mutex::default() })
    });
    if plan.is_none() {
        DISARMED.store(true, Ordering::Relaxed);
    }
    plan.as_ref()
}

impl Plan {
    /// What happens at this point.
    fn pass(&self, point: Point) -> Option<Signal> {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let step = self.steps.get(progress.step).filter(|step| step.point == point)?;
        progress.passages += 1;
        if progress.passages < step.passage {
            return None;
        }
        *progress = Progress { step: progress.step + 1, passages: 0 };
        step.signal
    }
}

fn parse(value: &str) -> Option<Vec<Step>> {
    value.split(',').map(parse_step).collect()
}

fn parse_step(step: &str) -> Option<Step> {
    let mut fields = step.split(':');
    let point = Point::from_name(fields.next()?)?;
    let passage = fields.next()?.parse().ok().filter(|passage| *passage > 0)?;
    let signal = match fields.next()? {
        "kill" => Some(Signal::SIGKILL),
        "stop" => Some(Signal::SIGSTOP),
        "pass" => None,
        _ => return None,
    };
    fields.next().is_none().then_some(Step { point, passage, signal })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_a_point_a_passage_and_what_happens() {
        let step = |point, passage, signal| Step { point, passage, signal };
        let expected = vec![
            step(Point::Published, 3, Some(Signal::SIGKILL)),
            step(Point::Armed, 1, Some(Signal::SIGSTOP)),
            step(Point::Beat, 2, None),
        ];
        assert_eq!(parse("published:3:kill,armed:1:stop,beat:2:pass"), Some(expected));
        for value in ["", "published", "published:1", "published:0:kill", "published:x:kill", "nowhere:1:kill"] {
            assert_eq!(parse(value), None, "{value}");
        }
        assert_eq!(parse("published:1:hang"), None);
        assert_eq!(parse("published:1:kill:4"), None);
        assert_eq!(parse("published:1:kill,"), None);
    }

    #[test]
    fn steps_come_one_after_the_other_each_at_its_passage() {
        let plan = Plan { steps: parse("published:2:stop,armed:1:kill").unwrap(), progress: Mutex::default() };
        let passes = [Point::Armed, Point::Published, Point::Published, Point::Published, Point::Armed, Point::Armed];
        let signals = passes.map(|point| plan.pass(point));
        assert_eq!(signals, [None, None, Some(Signal::SIGSTOP), None, Some(Signal::SIGKILL), None]);
    }
}
