//! What is done around calls, between the host and its plugins.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use rapace_service::intercept::{BearerToken, Rate, RateError, RequireBearer, TokenError};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

use super::overrides::{Switch, switch};
use super::quantity::{Quantity, Written};
use crate::document::{Document, Step};

/// What is done around calls. Of a plugin's own, what is not said is as for all plugins.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CallsConfig {
    /// Around the calls that plugins make to the host.
    pub incoming: CallRules,
    /// Around the calls that the host makes to plugins: those of typed and of dynamic clients, whatever way to the plugin they
    /// were made of and whenever that was, and those of [`PluginHandle::call`](crate::PluginHandle::call). Calls by bytes of a
    /// [`Caller`](rapace_session::Caller) or a [`Session`](rapace_session::Session) pass nothing: that is what clients are made of.
    pub outgoing: CallRules,
}

/// What is done around calls in one direction.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CallRules {
    /// Which calls are logged when they end. Default: none.
    pub log: Option<CallLogging>,
    /// How often calls may be made, those of all methods and of all processes of the plugin together: one that comes too
    /// early is refused with `ResourceExhausted`. `false`, which is the default: as often as they like.
    #[serde(deserialize_with = "switch")]
    #[schemars(with = "Option<Switch<Written<CallRate>>>")]
    pub rate: Option<Switch<CallRate>>,
    /// Of those, how many may come at once after a pause. Default: as many as the rate has in its time.
    pub burst: Option<NonZeroU32>,
    /// How often single methods may be called, by their full names, such as `rapace.Storage.set`; the rate of all holds, too.
    #[schemars(with = "BTreeMap<String, Written<CallRate>>")]
    #[serde(deserialize_with = "rates")]
    pub methods: BTreeMap<String, CallRate>,
    /// The secret that callers present as a bearer token: incoming calls without it are refused with `Unauthenticated`, and
    /// outgoing ones have it. `false`, which is the default: none.
    pub token: Option<Switch<Token>>,
    /// Whether calls are counted: see [`PluginHandle::call_metrics`](crate::PluginHandle::call_metrics). Default no.
    pub metrics: Option<bool>,
}

/// Which calls are logged when they end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CallLogging {
    /// None.
    #[default]
    None,
    /// Those that failed, as warnings.
    Errors,
    /// All: those that went well at info level.
    All,
}

/// How many calls in how much time: `100/s`, `20/m` or `5/10s` in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallRate {
    calls: u32,
    per: Duration,
}

/// A secret that says who calls. It is not shown.
#[derive(Clone)]
pub struct Token {
    text: String,
    required: RequireBearer,
    sent: BearerToken,
}

impl CallsConfig {
    /// This, and where it says nothing what `base` says.
    pub(crate) fn over(&self, base: &Self) -> Self {
        Self { incoming: self.incoming.over(&base.incoming), outgoing: self.outgoing.over(&base.outgoing) }
    }

    /// Notes what is out of bounds, on top of that.
    pub(crate) fn check(&self, base: &Self, document: &mut Document, path: &[Step]) {
        for (name, own, base) in
            [("incoming", &self.incoming, &base.incoming), ("outgoing", &self.outgoing, &base.outgoing)]
        {
            let path = |field: &str| [path, &[Step::from(name), Step::from(field)]].concat();
            let Some(burst) = own.burst else { continue };
            match own.over(base).rate {
                Some(Switch::On(rate)) => {
                    if let Err(error) = rate.with_burst(Some(burst)) {
                        document.refuse(&path("burst"), error.to_string());
                    }
                }
                _ => document.refuse(&path("burst"), "there is no rate that it would be a part of"),
            }
        }
    }
}

impl CallRules {
    fn over(&self, base: &Self) -> Self {
        let mut methods = base.methods.clone();
        methods.extend(self.methods.iter().map(|(name, rate)| (name.clone(), *rate)));
        Self {
            log: self.log.or(base.log),
            rate: self.rate.or(base.rate),
            // A burst is that of its rate.
            burst: if self.rate.is_some() { self.burst } else { self.burst.or(base.burst) },
            methods,
            token: self.token.clone().or_else(|| base.token.clone()),
            metrics: self.metrics.or(base.metrics),
        }
    }
}

impl CallRate {
    /// So many calls in so much time.
    ///
    /// # Errors
    ///
    /// Numbers that are no rate.
    pub fn new(calls: u32, per: Duration) -> Result<Self, RateError> {
        Rate::new(calls, per, calls).map(|_| Self { calls, per })
    }

    /// With so many at once, or as many as there are in its time.
    pub(crate) fn with_burst(self, burst: Option<NonZeroU32>) -> Result<Rate, RateError> {
        Rate::new(self.calls, self.per, burst.map_or(self.calls, NonZeroU32::get))
    }
}

impl Quantity for CallRate {
    const EXPECTED: &'static str = "a rate such as 100/s, 20/m or 5/10s";

    fn from_text(text: &str) -> Option<Self> {
        let (calls, per) = text.split_once('/')?;
        let is_plain = !calls.is_empty() && calls.bytes().all(|byte| byte.is_ascii_digit());
        let per = match per {
            "s" | "m" | "h" => Duration::from_text(&format!("1{per}")),
            per => Duration::from_text(per),
        };
        Self::new(calls.parse().ok().filter(|_| is_plain)?, per?).ok()
    }

    fn schema() -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^0*[1-9]\\d*/(s|m|h|\\s*(\\d+\\s*[A-Za-zµ]+\\s*)+)$",
            "description": "A rate such as 100/s, 20/m or 5/10s.",
        })
    }
}

fn rates<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, CallRate>, D::Error> {
    let written = BTreeMap::<String, Written<CallRate>>::deserialize(deserializer)?;
    Ok(written.into_iter().map(|(name, Written(rate))| (name, rate)).collect())
}

impl Token {
    /// This secret: 1 to 4096 letters, digits, and characters of `-._~+/=`.
    ///
    /// # Errors
    ///
    /// What it must not have.
    pub fn new(secret: &str) -> Result<Self, TokenError> {
        let (required, sent) = (RequireBearer::new([secret])?, BearerToken::new(secret)?);
        Ok(Self { text: secret.to_owned(), required, sent })
    }

    pub(crate) fn required(&self) -> RequireBearer {
        self.required.clone()
    }

    pub(crate) fn sent(&self) -> BearerToken {
        self.sent.clone()
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // What is wrong with it is said without showing it.
        Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Token {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Token".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // In a file it is a variable, as a rule.
        json_schema!({ "type": "string", "minLength": 1, "description": "A secret." })
    }
}
