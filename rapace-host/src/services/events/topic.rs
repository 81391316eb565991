//! Topics, and patterns of them.

use rapace_host_api::events::{EventsError, TOPIC_BYTES_MAX, TOPICS_MAX};

/// What is subscribed to.
pub(super) struct Pattern {
    text: String,
}

impl Pattern {
    /// The patterns of one subscription.
    pub(super) fn all(texts: impl IntoIterator<Item = String>) -> Result<Vec<Self>, EventsError> {
        let texts: Vec<String> = texts.into_iter().collect();
        if texts.is_empty() || texts.len() > TOPICS_MAX {
            return Err(EventsError::TopicCount { found: count(texts.len()), bound: count(TOPICS_MAX) });
        }
        texts.into_iter().map(Self::new).collect()
    }

    fn new(text: String) -> Result<Self, EventsError> {
        check(&text, text.strip_suffix('*').unwrap_or(&text))?;
        Ok(Self { text })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn matches(&self, topic: &str) -> bool {
        match self.text.strip_suffix('*') {
            Some(beginning) => topic.starts_with(beginning),
            None => self.text == topic,
        }
    }
}

/// Whether this is a topic that can be published to.
pub(super) fn check_topic(topic: &str) -> Result<(), EventsError> {
    check(topic, topic)
}

fn check(text: &str, name: &str) -> Result<(), EventsError> {
    let is_plain = !name.chars().any(|c| c.is_control() || c == '*');
    if is_plain && (1..=TOPIC_BYTES_MAX).contains(&text.len()) {
        return Ok(());
    }
    Err(EventsError::Topic { found: count(text.len()), bound: count(TOPIC_BYTES_MAX) })
}

fn count(of: usize) -> u64 {
    u64::try_from(of).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_name_or_the_beginning_of_names() {
        let long = "x".repeat(TOPIC_BYTES_MAX);
        for (pattern, topic, matches) in [
            ("a.b", "a.b", true),
            ("a.b", "a.b.c", false),
            ("a.*", "a.b", true),
            ("a.*", "a.", true),
            ("a.*", "a", false),
            ("*", "anything", true),
            (&*long, &*long, true),
        ] {
            let [pattern] = &Pattern::all([pattern.to_owned()]).unwrap()[..] else { panic!("there is one") };
            check_topic(topic).unwrap();
            assert_eq!(pattern.matches(topic), matches, "{} {topic}", pattern.text());
        }
        for wrong in ["", "a*b", "a**", "a\nb", "\0", &*format!("{long}x"), &*format!("{long}*")] {
            assert!(Pattern::all([wrong.to_owned()]).is_err(), "{wrong:?}");
        }
        assert!(check_topic("a*").is_err());
        assert!(Pattern::all([]).is_err());
        assert!(Pattern::all(vec!["a".to_owned(); TOPICS_MAX]).is_ok());
        let error = Pattern::all(vec!["a".to_owned(); TOPICS_MAX + 1]).err();
        assert_eq!(error, Some(EventsError::TopicCount { found: 65, bound: 64 }));
    }
}
