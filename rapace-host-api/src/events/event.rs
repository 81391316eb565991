//! An event that many have at once.

use std::sync::Arc;

use postcard_schema::Schema;
use postcard_schema::schema::NamedType;
use rapace_macros::message;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Something that was published. Cheap to clone: all clones have one payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event(Arc<Parts>);

#[message(crate = "rapace_service")]
#[derive(Eq)]
struct Parts {
    topic: String,
    source: Option<String>,
    payload: Vec<u8>,
}

impl Event {
    /// An event of this plugin, or of the host.
    pub fn new(topic: impl Into<String>, source: Option<String>, payload: impl Into<Vec<u8>>) -> Self {
        Self(Arc::new(Parts { topic: topic.into(), source, payload: payload.into() }))
    }

    /// Its topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.0.topic
    }

    /// The name of the plugin that has published it, by the host's word; none for the host.
    #[must_use]
    pub fn source(&self) -> Option<&str> {
        self.0.source.as_deref()
    }

    /// What was published.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.0.payload
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Parts::deserialize(deserializer).map(|parts| Self(Arc::new(parts)))
    }
}

impl Schema for Event {
    const SCHEMA: &'static NamedType = &NamedType { name: "Event", ty: Parts::SCHEMA.ty };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_sent_as_its_parts_and_its_clones_have_one_payload() {
        let event = Event::new("a.b", Some("p".to_owned()), [1, 2, 200]);
        let bytes = postcard::to_stdvec(&event).unwrap();
        assert_eq!(bytes, b"\x03a.b\x01\x01p\x03\x01\x02\xc8");
        assert_eq!(postcard::from_bytes::<Event>(&bytes).unwrap(), event);
        assert_eq!((event.topic(), event.source(), event.payload()), ("a.b", Some("p"), &[1, 2, 200][..]));
        assert!(std::ptr::eq(event.payload(), event.clone().payload()));
    }
}
