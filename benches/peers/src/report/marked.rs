//! Parts of a document that are written by a program, between two comments.

use crate::Error;

const END: &str = "<!-- end -->";

/// The document with this in the place of what stands between `<!-- race: NAME -->` and `<!-- end -->`.
pub(super) fn replace(document: &str, name: &str, part: &str) -> Result<String, Error> {
    let begin = format!("<!-- race: {name} -->");
    let missing = |what: &str| format!("found no `{what}` for the part `{name}`, expected one");
    let (before, rest) = document.split_once(&begin).ok_or_else(|| missing(&begin))?;
    let (_, after) = rest.split_once(END).ok_or_else(|| missing(END))?;
    Ok(format!("{before}{begin}\n\n{part}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::replace;

    #[test]
    fn a_part_is_replaced_and_the_others_stay() {
        let document = "one\n<!-- race: a -->old<!-- end -->\ntwo\n<!-- race: b -->\nstays\n<!-- end -->\n";
        let once = replace(document, "a", "new\n").unwrap();
        assert_eq!(once, "one\n<!-- race: a -->\n\nnew\n\n<!-- end -->\ntwo\n<!-- race: b -->\nstays\n<!-- end -->\n");
        assert_eq!(replace(&once, "a", "new\n").unwrap(), once);
    }

    #[test]
    fn a_part_without_marks_is_refused() {
        assert!(replace("<!-- race: a --> <!-- end -->", "b", "").unwrap_err().to_string().contains("race: b"));
        assert!(replace("<!-- race: a --> ", "a", "").unwrap_err().to_string().contains("end"));
    }
}
