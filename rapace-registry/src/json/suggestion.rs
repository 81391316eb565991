//! The name that was meant, most likely.

/// Names that are looked at: a peer's type may have many.
const NAMES_MAX: usize = 256;
/// Bytes of a name that is looked at; longer ones are no slips of the finger.
const NAME_BYTES_MAX: usize = 64;

/// The known name that is most like this one, unless none is.
pub(super) fn closest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let candidates = known.take(NAMES_MAX).filter(|known| known.len() <= NAME_BYTES_MAX);
    let measured = candidates.map(|known| (edits(name, known), known));
    let likely = |(edits, known): &(usize, &str)| *edits <= name.len().max(known.len()).div_ceil(3);
    measured.min_by_key(|(edits, _)| *edits).filter(likely).map(|(_, known)| known)
}

/// How many characters are to be added, taken away or changed: one row of the usual table at a time.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (place, b) in to.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[place + 1];
            row[place + 1] = changed.min(diagonal + 1).min(row[place] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognised() {
        let closest = |name| closest(name, ["retries", "timeout", "name"].into_iter());
        assert_eq!(closest("retrys"), Some("retries"));
        assert_eq!(closest("Name"), Some("name"));
        assert_eq!(closest("tiemout"), Some("timeout"));
        assert_eq!(closest("nmae"), Some("name"));
        assert_eq!(closest("colour"), None);
        assert_eq!(closest(""), None);
        assert_eq!(closest(&"n".repeat(65)), None);
    }

    #[test]
    fn edits_are_counted() {
        for (from, to, count) in [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("é", "e", 1)]
        {
            assert_eq!(edits(from, to), count, "{from} {to}");
        }
    }
}
