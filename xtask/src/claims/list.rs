//! `spec/claims.toml`: what is claimed, and for each claim the changes to the code that a test must notice.

use serde::Deserialize;

/// Where the claims are.
pub(crate) const PATH: &str = "spec/claims.toml";

/// All claims, in the order of the table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Claims {
    /// The claims, by what they are about.
    #[serde(rename = "section")]
    pub(crate) sections: Vec<Section>,
}

/// Claims about one thing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Section {
    /// What they are about.
    pub(crate) title: String,
    /// The claims.
    #[serde(rename = "claim")]
    pub(crate) claims: Vec<Claim>,
}

/// A guarantee, and what shows that it is kept.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Claim {
    /// Its name.
    pub(crate) id: String,
    /// What is guaranteed.
    pub(crate) guarantee: String,
    /// The rules of SPEC.md that ask for it.
    pub(crate) rules: Vec<String>,
    /// What sees to it: a function, or a few words.
    pub(crate) mechanism: String,
    /// Changes that take the mechanism away.
    #[serde(rename = "mutation")]
    pub(crate) mutations: Vec<Mutation>,
}

/// A change to the code, and the test that fails with it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mutation {
    /// The file.
    pub(crate) file: String,
    /// A text that stands there once.
    pub(crate) find: String,
    /// What stands there instead.
    pub(crate) replace: String,
    /// The test.
    pub(crate) test: Test,
}

/// A test, written `PACKAGE PROGRAM NAME`, where `lib` is the program of the unit tests.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Test {
    /// The package.
    pub(crate) package: String,
    /// `lib`, or the name of a program in its `tests` folder.
    pub(crate) program: String,
    /// The test's name, with its modules.
    pub(crate) name: String,
}

impl Claims {
    /// Reads the list.
    pub(crate) fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// All claims.
    pub(crate) fn claims(&self) -> impl Iterator<Item = &Claim> {
        self.sections.iter().flat_map(|section| &section.claims)
    }
}

impl Claim {
    /// The tests that guard it, each once, in their order.
    pub(crate) fn tests(&self) -> Vec<&Test> {
        once_each(self.mutations.iter().map(|mutation| &mutation.test))
    }

    /// The files that keep it, each once, in their order.
    pub(crate) fn files(&self) -> Vec<&str> {
        once_each(self.mutations.iter().map(|mutation| mutation.file.as_str()))
    }
}

impl TryFrom<String> for Test {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.split(' ').collect::<Vec<_>>()[..] {
            [package, program, name] => {
                let [package, program, name] = [package, program, name].map(str::to_owned);
                Ok(Self { package, program, name })
            }
            _ => Err(format!("found the test {text:?}, expected `PACKAGE PROGRAM NAME`")),
        }
    }
}

fn once_each<T: PartialEq>(all: impl Iterator<Item = T>) -> Vec<T> {
    all.fold(Vec::new(), |mut list, one| {
        if !list.contains(&one) {
            list.push(one);
        }
        list
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_has_each_test_and_each_file_once() {
        let mutation = |file: &str, test: &str| {
            format!("[[section.claim.mutation]]\nfile = '{file}'\nfind = 'a'\nreplace = 'b'\ntest = 'p lib {test}'\n")
        };
        let head =
            "[[section]]\ntitle = 's'\n[[section.claim]]\nid = 'i'\nguarantee = 'g'\nrules = []\nmechanism = 'm'\n";
        let all = [mutation("f", "one"), mutation("g", "one"), mutation("f", "two")].concat();
        let claims = Claims::parse(&format!("{head}{all}")).unwrap();
        let claim = claims.claims().next().unwrap();
        assert_eq!(claim.files(), ["f", "g"]);
        assert_eq!(claim.tests().iter().map(|test| test.name.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    }

    #[test]
    fn a_test_is_three_words() {
        assert!(Test::try_from("p lib a::b".to_owned()).is_ok());
        for text in ["", "p lib", "p lib a b"] {
            assert!(Test::try_from(text.to_owned()).is_err(), "{text:?}");
        }
    }
}
