//! Faults on purpose, for tests of programs that use rapace: how does a host bear a plugin that is slow, silent or dead?
//!
//! Behind the feature `fault-injection`, which is for tests: whoever may set a plugin's variables may break it then.
//!
//! A [`FaultPlan`] has a seed and rules. A [`FaultInjector`] makes it happen, in a session whose configuration has it: a
//! host's for all of its plugins, or that of one plugin, whose program knows nothing of it (`PluginSpec::faults`). A plugin
//! that was built with the feature finds a plan in its variable [`RAPACE_FAULTS`](FaultPlan::VARIABLE), and tells each fate on
//! its standard error. A session asks its plan about each call that it makes and each that it serves.
//!
//! ```
//! use std::time::Duration;
//! use rapace_session::Code;
//! use rapace_session::fault_injection::{FaultAction, FaultInjector, FaultPlan, FaultRule};
//!
//! let text = "seed=42; delay=10ms@0.5 of 2001; error=Unavailable of demo.Storage.get times 3; kill nth 100";
//! let plan = FaultPlan::new()
//!     .seed(42)
//!     .rule(FaultRule::new(FaultAction::Delay(Duration::from_millis(10))).chance(0.5).method(2001))
//!     .rule(FaultRule::new(FaultAction::Error(Code::Unavailable)).method_named("demo.Storage.get").times(3))
//!     .rule(FaultRule::new(FaultAction::Kill).nth(100));
//! assert_eq!(text.parse(), Ok(plan.clone()));
//! assert_eq!(plan.to_string(), text);
//!
//! // For a session: `Config { fault_injection: faults.clone().into(), ..config }`.
//! let faults = FaultInjector::new(plan);
//! // What a failed test prints: a plan that replays, and what calls have met.
//! println!("{faults}");
//! assert!(faults.fates().is_empty());
//! ```
//!
//! # The text of a plan
//!
//! Parts between semicolons: `seed=N`, and rules. A rule is an action, `@CHANCE` from 0 to 1 if it is not certain, and any
//! of these: `of METHOD` (an id, or a full name such as `demo.Storage.get`; without it the rule is for all methods but
//! `initialize` and `shutdown`), `calling` or `serving` (else both), `nth N` (the call of this number of each method, from 1),
//! `times N` (at most so many calls of each method), `item N` (below). The first rule that hits a call decides.
//!
//! | action | where the call is served | where the call is made |
//! |---|---|---|
//! | `delay=TIME` | the handler runs later; others meanwhile | the request goes later |
//! | `drop` | no handler runs, and nothing is answered until the caller gives up | the request is lost: `DeadlineExceeded` when the time is over, or the session's end |
//! | `corrupt` | the reply has other bytes | the same |
//! | `corrupt-request` | the handler gets other bytes | the same |
//! | `exhaust` | the answer is `ResourceExhausted` | there is never room: `NoRoom` when the time is over, or the session's end |
//! | `error=CODE` | the answer is that status | the same, and nothing is sent |
//! | `kill` | the plugin dies before the handler runs | the plugin dies before the request is sent |
//! | `kill-after` | the plugin dies when the handler has answered, before the answer is sent | the plugin dies when the answer has come, and that is lost |
//! | `kill item N` | the plugin dies before item N is sent to the caller | never |
//! | `delay=TIME item N` | item N, and what follows, is sent later | never |
//!
//! Corrupt bytes are cut, changed in one place, or have something behind them: most fail to decode, and some are another
//! value. Whoever makes a call by `try_start` never waits, so what would hold the call back is `WouldBlock`. Items of streams
//! are neither dropped nor corrupt: no transport does that without an end of the session. A host kills the process that it
//! has started, a plugin its own.
//!
//! # What is the same in each run
//!
//! Whether a rule hits depends on the seed, the rule's place, the side, the method and the number of the call among those of
//! its method with this peer; nothing else. So the same call meets the same fate however threads take turns. A plugin that is
//! started again begins to count again; its host does not.

mod action;
mod armed;
mod calling;
mod chance;
mod fate;
mod injector;
mod parse;
mod plan;
mod serving;
mod timer;

pub use action::FaultAction;
pub use fate::Fate;
pub use injector::FaultInjector;
pub use parse::PlanError;
pub use plan::{FaultPlan, FaultRule, FaultSide};

pub(crate) use armed::Armed;
pub(crate) use calling::{Meeting, Replies, meet_reply, waits_for_death};
pub(crate) use serving::{Coming, meet};

#[cfg(test)]
mod tests;

/// The target of the events that tell of fates.
const TARGET: &str = "rapace::fault_injection";
