//! The arguments of a plugin's program.

use std::ffi::OsString;
use std::path::PathBuf;

use thiserror::Error;

/// What a program is told to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arguments {
    /// To serve a host.
    Serve {
        /// The configuration, in place of that of `initialize`.
        config: Option<String>,
        /// Where a running host listens, if none has started the program.
        attach: Option<PathBuf>,
    },
    /// To say what it is.
    Capabilities,
    /// To say how it is used.
    Help,
}

/// The arguments are none that a plugin takes.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum ArgumentError {
    /// There is no such argument, or not behind the others.
    #[error("found the argument {0:?}, expected --attach, --config, or capabilities alone")]
    Unknown(OsString),
    /// Its value is missing.
    #[error("found {0} without a value, expected {0} {1}")]
    NoValue(&'static str, &'static str),
    /// It comes again.
    #[error("found {0} twice, expected it once")]
    Again(&'static str),
    /// Its value is no text.
    #[error("found {1:?} behind {0}, expected UTF-8")]
    NoText(&'static str, OsString),
}

impl Arguments {
    /// Reads what follows the program's name.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, ArgumentError> {
        let (mut config, mut attach) = (None, None);
        let mut arguments = arguments.into_iter();
        let mut first = true;
        while let Some(argument) = arguments.next() {
            // A path that is no text comes by the form with two arguments.
            let text = argument.to_str().unwrap_or_default();
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name, Some(OsString::from(value))),
                None => (text, None),
            };
            match name {
                "--help" | "-h" if value.is_none() => return Ok(Self::Help),
                "capabilities" if first && value.is_none() => {
                    return match arguments.next() {
                        None => Ok(Self::Capabilities),
                        Some(more) => Err(ArgumentError::Unknown(more)),
                    };
                }
                "--config" => {
                    let value = once(&config, "--config", "JSON", value, &mut arguments)?;
                    config = Some(value.into_string().map_err(|value| ArgumentError::NoText("--config", value))?);
                }
                "--attach" => {
                    attach = Some(PathBuf::from(once(&attach, "--attach", "SOCKET", value, &mut arguments)?));
                }
                _ => return Err(ArgumentError::Unknown(argument)),
            }
            first = false;
        }
        Ok(Self::Serve { config, attach })
    }
}

/// The value of an argument that comes once: behind its `=`, or as the next one.
fn once<T>(
    before: &Option<T>,
    name: &'static str,
    what: &'static str,
    value: Option<OsString>,
    rest: &mut impl Iterator<Item = OsString>,
) -> Result<OsString, ArgumentError> {
    match before {
        Some(_) => Err(ArgumentError::Again(name)),
        None => value.or_else(|| rest.next()).ok_or(ArgumentError::NoValue(name, what)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Arguments, ArgumentError> {
        Arguments::parse(arguments.iter().map(OsString::from))
    }

    fn serve(config: Option<&str>, attach: Option<&str>) -> Result<Arguments, ArgumentError> {
        Ok(Arguments::Serve { config: config.map(str::to_owned), attach: attach.map(PathBuf::from) })
    }

    #[test]
    fn arguments_come_in_either_form() {
        assert_eq!(parse(&[]), serve(None, None));
        assert_eq!(parse(&["--config={\"a\":\"=\"}"]), serve(Some("{\"a\":\"=\"}"), None));
        assert_eq!(parse(&["--attach", "/a=b", "--config", ""]), serve(Some(""), Some("/a=b")));
        assert_eq!(parse(&["capabilities"]), Ok(Arguments::Capabilities));
    }

    #[test]
    fn help_is_given_to_whoever_asks() {
        for arguments in [&["--help"][..], &["-h"], &["--config=1", "--help"]] {
            assert_eq!(parse(arguments), Ok(Arguments::Help), "{arguments:?}");
        }
    }

    #[test]
    fn what_is_no_argument_is_refused_by_name() {
        let unknown = |name: &str| ArgumentError::Unknown(name.into());
        let bad: [(&[&str], ArgumentError); 9] = [
            (&["capabilities", "x"], unknown("x")),
            (&["--config=1", "capabilities"], unknown("capabilities")),
            (&["--config"], ArgumentError::NoValue("--config", "JSON")),
            (&["--config=1", "--config=2"], ArgumentError::Again("--config")),
            (&["--attach"], ArgumentError::NoValue("--attach", "SOCKET")),
            (&["serve"], unknown("serve")),
            (&["--confg=1"], unknown("--confg=1")),
            (&["--help=me"], unknown("--help=me")),
            (&[""], unknown("")),
        ];
        for (arguments, error) in bad {
            assert_eq!(parse(arguments), Err(error), "{arguments:?}");
        }
        let text = "found the argument \"serve\", expected --attach, --config, or capabilities alone";
        assert_eq!(unknown("serve").to_string(), text);
    }

    #[test]
    fn an_argument_that_is_no_text_is_refused_unless_it_is_a_path() {
        use std::os::unix::ffi::OsStringExt;

        let odd = || OsString::from_vec(vec![b'/', 0xff]);
        let parse = |name: &str| Arguments::parse([OsString::from(name), odd()]);
        assert_eq!(parse("--attach"), Ok(Arguments::Serve { config: None, attach: Some(odd().into()) }));
        assert_eq!(parse("--config"), Err(ArgumentError::NoText("--config", odd())));
        assert_eq!(Arguments::parse([odd()]), Err(ArgumentError::Unknown(odd())));
    }
}
