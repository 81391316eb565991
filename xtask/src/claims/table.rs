//! The table of claims in SECURITY.md, which is written from the list.

use super::list::{Claim, Claims};

/// The file that has the table.
pub(crate) const PATH: &str = "SECURITY.md";
/// The line before the table.
pub(crate) const BEGIN: &str = "<!-- claims: written by `cargo run -p xtask -- claims --table` -->";
/// The line behind it.
pub(crate) const END: &str = "<!-- end of claims -->";

/// The text with the table of these claims in its place; `None` when a marker is missing.
pub(crate) fn insert(text: &str, claims: &Claims) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{}\n{END}{after}", markdown(claims)))
}

fn markdown(claims: &Claims) -> String {
    let mut text = String::new();
    for section in &claims.sections {
        text += &format!("\n**{}**\n\n", section.title);
        text += "| claim | guarantee | SPEC | by what | the test that fails without it |\n|---|---|---|---|---|\n";
        section.claims.iter().for_each(|claim| text += &row(claim));
    }
    text
}

fn row(claim: &Claim) -> String {
    let code = |text: &str| format!("`{text}`");
    let files = claim.files().into_iter().map(code).collect::<Vec<_>>().join(", ");
    let test = |test: &super::list::Test| format!("{} `{}`: `{}`", test.package, test.program, test.name);
    let tests = claim.tests().into_iter().map(test).collect::<Vec<_>>().join("<br>");
    let Claim { id, guarantee, rules, mechanism, .. } = claim;
    format!("| `{id}` | {guarantee} | {} | {mechanism} ({files}) | {tests} |\n", rules.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLAIMS: &str = "[[section]]\ntitle = 'Memory'\n[[section.claim]]\nid = 'one'\nguarantee = 'It holds.'\n\
                          rules = ['O1', 'O2']\nmechanism = '`f`'\n[[section.claim.mutation]]\nfile = 'a.rs'\n\
                          find = 'x'\nreplace = 'y'\ntest = 'p lib m::t'\n";

    #[test]
    fn a_table_takes_the_place_of_the_one_before() {
        let claims = Claims::parse(CLAIMS).unwrap();
        let row = "| `one` | It holds. | O1, O2 | `f` (`a.rs`) | p `lib`: `m::t` |";
        let new = insert(&format!("above\n{BEGIN}\nlast year\n{END}\nbelow\n"), &claims).unwrap();
        assert!(new.starts_with(&format!("above\n{BEGIN}\n")) && new.ends_with(&format!("\n{END}\nbelow\n")), "{new}");
        assert!(new.contains("**Memory**") && new.contains(row) && !new.contains("last year"), "{new}");
        assert_eq!(insert(&new, &claims), Some(new));
    }

    #[test]
    fn a_text_without_its_markers_has_no_table() {
        let claims = Claims::parse(CLAIMS).unwrap();
        assert_eq!(insert(&format!("{END}\n{BEGIN}\n"), &claims), None);
        assert_eq!(insert(BEGIN, &claims), None);
    }
}
