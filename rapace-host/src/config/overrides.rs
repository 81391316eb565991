//! What a file says of supervision: only what differs from what holds otherwise.

use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroU16;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{BorrowedStrDeserializer, MapAccessDeserializer};
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::quantity::{Quantity, Written, optional};
use crate::document::{Document, Step};
use crate::policy::{Backoff, Breaker, RestartLimit, RestartPolicy, Supervision, Unresponsive};

/// Something that can be turned off: `false` in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch<T> {
    /// It is off.
    Off,
    /// It is on.
    On(T),
}

impl<T> Switch<T> {
    fn on(self) -> Option<T> {
        match self {
            Self::Off => None,
            Self::On(value) => Some(value),
        }
    }
}

/// What differs in how a plugin is looked after. What is none stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SupervisionOverrides {
    /// Whether it is started again.
    pub restart: Option<RestartPolicy>,
    /// How soon.
    pub backoff: BackoffOverrides,
    /// How often.
    pub limit: RestartLimitOverrides,
    /// When calls are refused. `false`: never.
    pub breaker: Option<Switch<BreakerOverrides>>,
    /// What is done with one that hangs.
    pub unresponsive: Option<Unresponsive>,
    /// It is stopped when it has had no call for so long. `false`: it is not.
    #[serde(deserialize_with = "switch")]
    #[schemars(with = "Option<Switch<Written<Duration>>>")]
    pub idle_timeout: Option<Switch<Duration>>,
    /// So many processes share its calls.
    pub instances: Option<NonZeroU16>,
    /// Whether the host is unhealthy without it.
    pub critical: Option<bool>,
    /// Whether calls wait when it has ended and is to be started again, rather than be refused.
    pub calls_wait: Option<bool>,
}

/// What differs in how soon a plugin is started again.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BackoffOverrides {
    /// Before the first restart in a row.
    #[serde(deserialize_with = "optional")]
    #[schemars(with = "Option<Written<Duration>>")]
    pub first: Option<Duration>,
    /// At most.
    #[serde(deserialize_with = "optional")]
    #[schemars(with = "Option<Written<Duration>>")]
    pub most: Option<Duration>,
    /// How many times longer each is than the one before: 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub factor: Option<f64>,
    /// The share of it by which chance makes it shorter: 0 to 1.
    #[schemars(range(min = 0, max = 1))]
    pub jitter: Option<f64>,
}

/// What differs in how often a plugin is started again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RestartLimitOverrides {
    /// So many restarts.
    pub restarts: Option<u32>,
    /// Within so long.
    #[serde(deserialize_with = "optional")]
    #[schemars(with = "Option<Written<Duration>>")]
    pub window: Option<Duration>,
}

/// What differs in when calls are refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerOverrides {
    /// After so many failures in a row: from 1.
    #[schemars(range(min = 1))]
    pub failures: Option<u32>,
    /// For so long.
    #[serde(deserialize_with = "optional")]
    #[schemars(with = "Option<Written<Duration>>")]
    pub open: Option<Duration>,
}

impl SupervisionOverrides {
    /// What holds with these on top of that.
    #[must_use]
    pub fn over(&self, base: Supervision) -> Supervision {
        let breaker = match &self.breaker {
            None => base.breaker,
            Some(Switch::Off) => None,
            Some(Switch::On(breaker)) => Some(breaker.over(base.breaker.unwrap_or_default())),
        };
        Supervision {
            restart: self.restart.unwrap_or(base.restart),
            backoff: Backoff {
                first: self.backoff.first.unwrap_or(base.backoff.first),
                most: self.backoff.most.unwrap_or(base.backoff.most),
                factor: self.backoff.factor.unwrap_or(base.backoff.factor),
                jitter: self.backoff.jitter.unwrap_or(base.backoff.jitter),
            },
            limit: RestartLimit {
                restarts: self.limit.restarts.unwrap_or(base.limit.restarts),
                window: self.limit.window.unwrap_or(base.limit.window),
            },
            breaker,
            unresponsive: self.unresponsive.unwrap_or(base.unresponsive),
            idle_timeout: self.idle_timeout.map_or(base.idle_timeout, Switch::on),
            instances: self.instances.unwrap_or(base.instances),
            critical: self.critical.unwrap_or(base.critical),
            calls_wait: self.calls_wait.unwrap_or(base.calls_wait),
        }
    }

    /// Notes what is out of bounds, on top of that.
    pub(crate) fn check(&self, base: Supervision, document: &mut Document, path: &[Step]) {
        let mut refuse = |ok: bool, names: &[&str], message: String| {
            if !ok {
                let path: Vec<_> = path.iter().cloned().chain(names.iter().map(|name| Step::from(*name))).collect();
                document.refuse(&path, message);
            }
        };
        if let Some(factor) = self.backoff.factor {
            let message = format!("found {factor:?}, expected a number from 1 to 100");
            refuse((1.0..=100.0).contains(&factor), &["backoff", "factor"], message);
        }
        if let Some(jitter) = self.backoff.jitter {
            let message = format!("found {jitter:?}, expected a number from 0 to 1");
            refuse((0.0..=1.0).contains(&jitter), &["backoff", "jitter"], message);
        }
        let Backoff { first, most, .. } = self.over(base).backoff;
        let (name, message) = match self.backoff.first {
            Some(first) => ("first", format!("found {first:?}, expected at most {most:?}, which is backoff.most")),
            None => ("most", format!("found {most:?}, expected at least {first:?}, which is backoff.first")),
        };
        let is_said = self.backoff.first.or(self.backoff.most).is_some();
        refuse(first <= most || !is_said, &["backoff", name], message);
        let longer = "found 0s, expected a longer duration";
        refuse(self.limit.window != Some(Duration::ZERO), &["limit", "window"], longer.to_owned());
        refuse(self.idle_timeout != Some(Switch::On(Duration::ZERO)), &["idle_timeout"], longer.to_owned());
        if let Some(Switch::On(breaker)) = &self.breaker {
            refuse(breaker.failures != Some(0), &["breaker", "failures"], "found 0, expected at least 1".to_owned());
            refuse(breaker.open != Some(Duration::ZERO), &["breaker", "open"], longer.to_owned());
        }
    }
}

impl BreakerOverrides {
    fn over(&self, base: Breaker) -> Breaker {
        Breaker { failures: self.failures.unwrap_or(base.failures), open: self.open.unwrap_or(base.open) }
    }
}

/// For `deserialize_with`.
pub(super) fn switch<'de, D: Deserializer<'de>, T: Quantity>(deserializer: D) -> Result<Option<Switch<T>>, D::Error> {
    let written = Option::<Switch<Written<T>>>::deserialize(deserializer)?;
    Ok(written.map(|switch| match switch {
        Switch::Off => Switch::Off,
        Switch::On(Written(value)) => Switch::On(value),
    }))
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Switch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SwitchVisitor(PhantomData))
    }
}

struct SwitchVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for SwitchVisitor<T> {
    type Value = Switch<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("false, or a value that it is turned on with")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Switch<T>, E> {
        if value { Err(E::invalid_value(serde::de::Unexpected::Bool(value), &self)) } else { Ok(Switch::Off) }
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Switch<T>, E> {
        T::deserialize(BorrowedStrDeserializer::new(text)).map(Switch::On)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Switch<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Switch::On)
    }
}

impl<T: JsonSchema> JsonSchema for Switch<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Switch of {}", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "const": false }, generator.subschema_for::<T>()] })
    }
}
