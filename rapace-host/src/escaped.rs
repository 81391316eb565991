//! Text of others, where it is to stay on its line.

use std::fmt::{self, Write as _};

/// A text with its control characters, and with what has it shown in another order or on another line, as escapes.
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl Escaped<'_> {
    /// Whether there is anything to escape.
    pub(crate) fn is_needed(&self) -> bool {
        self.0.chars().any(is_unruly)
    }
}

/// The same, as a text.
pub(crate) fn escaped(text: &str) -> String {
    Escaped(text).to_string()
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.0.split_inclusive(is_unruly) {
            let mut chars = part.chars();
            match chars.next_back().filter(|last| is_unruly(*last)) {
                Some(last) => {
                    f.write_str(chars.as_str())?;
                    last.escape_default().try_for_each(|c| f.write_char(c))?;
                }
                None => f.write_str(part)?,
            }
        }
        Ok(())
    }
}

fn is_unruly(c: char) -> bool {
    (c.is_control() && c != '\t')
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stays_on_its_line_and_in_its_order() {
        for (text, shown) in [
            ("", ""),
            ("plain \u{20ac}\ttext", "plain \u{20ac}\ttext"),
            ("a\nb\r", "a\\nb\\r"),
            ("\x1b[31mred\0", "\\u{1b}[31mred\\u{0}"),
            ("\u{202e}txt\u{2028}\u{85}", "\\u{202e}txt\\u{2028}\\u{85}"),
        ] {
            assert_eq!(Escaped(text).to_string(), shown);
            assert_eq!(Escaped(text).is_needed(), text != shown);
        }
    }
}
