//! The arguments of a plugin's program.

use std::ffi::OsString;
use std::path::PathBuf;

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
}

/// The arguments are none that a plugin takes, or ask for help.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unknown;

impl Arguments {
    /// Reads what follows the program's name.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, Unknown> {
        let (mut config, mut attach) = (None, None);
        let mut arguments = arguments.into_iter();
        let mut first = true;
        while let Some(argument) = arguments.next() {
            // A path that is no text comes by the form with two arguments.
            let argument = argument.into_string().map_err(|_| Unknown)?;
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(OsString::from(value))),
                None => (argument.as_str(), None),
            };
            match name {
                "capabilities" if first && value.is_none() && arguments.next().is_none() => {
                    return Ok(Self::Capabilities);
                }
                "--config" if config.is_none() => {
                    let value = value.or_else(|| arguments.next()).ok_or(Unknown)?;
                    config = Some(value.into_string().map_err(|_| Unknown)?);
                }
                "--attach" if attach.is_none() => {
                    attach = Some(PathBuf::from(value.or_else(|| arguments.next()).ok_or(Unknown)?));
                }
                _ => return Err(Unknown),
            }
            first = false;
        }
        Ok(Self::Serve { config, attach })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Arguments, Unknown> {
        Arguments::parse(arguments.iter().map(OsString::from))
    }

    fn serve(config: Option<&str>, attach: Option<&str>) -> Result<Arguments, Unknown> {
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
    fn what_is_no_argument_is_refused() {
        let bad: [&[&str]; 8] = [
            &["--help"],
            &["-h"],
            &["capabilities", "x"],
            &["--config=1", "capabilities"],
            &["--config"],
            &["--config=1", "--config=2"],
            &["--attach"],
            &["serve"],
        ];
        for arguments in bad {
            assert_eq!(parse(arguments), Err(Unknown), "{arguments:?}");
        }
    }
}
