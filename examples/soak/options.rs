//! What the program is told.

use std::time::Duration;

use clap::Parser;

use crate::temper::Temper;

/// Runs a host with good, slow, crashing, hanging and lying plugins, restarts each that ends, and says at the end whether
/// everything held. Ctrl-C ends it early, with a verdict.
#[derive(Clone, Debug, PartialEq, Parser)]
#[command(name = "soak")]
pub(crate) struct Options {
    /// How long it runs; fractions are taken.
    #[arg(long, default_value_t = 1.0, value_parser = minutes, allow_negative_numbers = true)]
    pub(crate) minutes: f64,

    /// What all random choices begin with. Which thread comes first is still the machine's choice [default: drawn].
    #[arg(long)]
    pub(crate) seed: Option<u64>,

    /// How many plugins; the first is good, and the tempers take turns.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) plugins: u8,

    /// How this process behaves as a plugin: the program starts itself so.
    #[arg(long, hide = true, requires = "host")]
    pub(crate) plugin: Option<Temper>,

    /// The host's process, by which its plugins are found.
    #[arg(long, hide = true, requires = "plugin")]
    pub(crate) host: Option<u32>,
}

impl Options {
    /// How long it runs.
    pub(crate) fn time(&self) -> Duration {
        Duration::from_secs_f64(60.0 * self.minutes)
    }
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes: f64 = text.parse().map_err(|_| "it is no number".to_owned())?;
    if (0.01..=100_000.0).contains(&minutes) { Ok(minutes) } else { Err("it must be 0.01 to 100000".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &str) -> Result<Options, String> {
        let args = std::iter::once("soak").chain(args.split_whitespace());
        Options::try_parse_from(args).map_err(|error| error.to_string())
    }

    #[test]
    fn each_option_is_taken() {
        let options = parse("--minutes 0.5 --seed 7 --plugins 3").unwrap();
        assert_eq!((options.time(), options.seed, options.plugins), (Duration::from_secs(30), Some(7), 3));
        let options = parse("--plugin lying --host 12").unwrap();
        assert_eq!((options.plugin, options.host), (Some(Temper::Lying), Some(12)));
        assert_eq!(parse("").unwrap().time(), Duration::from_secs(60));
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for args in ["--minutes 0", "--minutes nan", "--minutes -1", "--minutes x", "--minutes 1e9", "--plugins 0"] {
            let option = args.split_whitespace().next().unwrap();
            assert!(parse(args).unwrap_err().contains(option), "{args}");
        }
        assert!(parse("--plugin good").unwrap_err().contains("--host"));
    }
}
