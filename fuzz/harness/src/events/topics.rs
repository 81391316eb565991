//! Topics, good and bad, and what is to be said of them.

use arbitrary::{Arbitrary, Unstructured};
use rapace_host_api::events::{EventsError, TOPIC_BYTES_MAX, TOPICS_MAX};

/// What stands in a topic, or should not.
const PARTS: [&str; 12] = ["a", "a.", "b", ".", "host.", "host", "*", "\u{20ac}", "\n", "\u{9b}", "", "x"];

/// What is a topic, or a pattern, and often met.
const USUAL: [&str; 5] = ["a.x", "a.y", "b", "a.*", "*"];

/// A text that may be a topic, or a pattern.
#[derive(Debug)]
pub(super) struct Topic(pub(super) String);

impl<'a> Arbitrary<'a> for Topic {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        if u.ratio(2, 3)? {
            return Ok(Self(u.choose(&USUAL)?.to_string()));
        }
        let mut text = String::new();
        for _ in 0..u.int_in_range(0..=3)? {
            text.push_str(u.choose(&PARTS)?);
        }
        // About as long as it may be.
        if u.ratio(1, 16)? {
            text = "x".repeat(TOPIC_BYTES_MAX - 2) + &text;
        }
        Ok(Self(text))
    }
}

/// Whether it can be published to.
pub(super) fn is_topic(text: &str) -> bool {
    let is_plain = text.chars().all(|c| c != '*' && !c.is_control());
    is_plain && !text.is_empty() && text.len() <= TOPIC_BYTES_MAX
}

/// Whether it can be subscribed to.
fn is_pattern(text: &str) -> bool {
    let beginning = text.strip_suffix('*');
    text == "*" || text.len() <= TOPIC_BYTES_MAX && is_topic(beginning.unwrap_or(text))
}

/// Whether a topic is one of a pattern.
pub(super) fn matches(pattern: &str, topic: &str) -> bool {
    pattern == topic || pattern.ends_with('*') && topic.as_bytes().starts_with(&pattern.as_bytes()[..pattern.len() - 1])
}

/// Whether all topics of a pattern are among those of a wider one.
pub(super) fn covers(wider: &str, pattern: &str) -> bool {
    match (wider.strip_suffix('*'), pattern.strip_suffix('*')) {
        (Some(wide), Some(narrow)) => narrow.starts_with(wide),
        (Some(_), None) => matches(wider, pattern),
        (None, _) => wider == pattern,
    }
}

pub(super) fn wrong(text: &str) -> EventsError {
    EventsError::Topic { found: count(text.len()), bound: count(TOPIC_BYTES_MAX) }
}

/// What is wrong with the topics of a subscription.
pub(super) fn refusal_of(topics: &[String]) -> Option<EventsError> {
    if !(1..=TOPICS_MAX).contains(&topics.len()) {
        return Some(EventsError::TopicCount { found: count(topics.len()), bound: count(TOPICS_MAX) });
    }
    topics.iter().find(|text| !is_pattern(text)).map(|text| wrong(text))
}

pub(super) fn count(of: usize) -> u64 {
    u64::try_from(of).expect("it is small")
}
