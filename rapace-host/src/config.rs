//! The configuration of a whole host.

pub(crate) mod overrides;
pub(crate) mod quantity;

pub use overrides::{BackoffOverrides, BreakerOverrides, RestartLimitOverrides, SupervisionOverrides, Switch};
