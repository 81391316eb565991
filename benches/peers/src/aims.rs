//! The aims: ratios of what rapace takes to what the machine's limits and the peers take.
//!
//! A ratio is made within each run, and is the median of those of all runs: the machine itself may change, above all the way of a
//! cache line. Where it can be, it is made of two figures that are measured for it, back to back.

mod list;
pub mod pair;

use serde::{Deserialize, Serialize};

use self::list::AIMS;
use crate::figure::{Readings, Runs, Spread};
use crate::table::{Cell, Row, Table};

/// The metric of a pair.
const RATIO: &str = "ratio";

/// What a ratio is to be.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Bound {
    AtMost,
    AtLeast,
}
use Bound::{AtLeast, AtMost};

/// Whose figures: the best of these rows, by their medians.
#[derive(Clone, Copy, Debug)]
enum Rows {
    /// Of a system: these.
    Of(&'static str, &'static [&'static str]),
    /// All that are neither rapace nor a limit, and have a process of their own.
    Peers,
}

/// One side of a ratio: rows, metric, size.
type Term = (Rows, &'static str, usize);

struct Aim {
    what: &'static str,
    over: Term,
    under: Option<Term>,
    bound: Bound,
    aim: f64,
}

/// How far an aim was reached: an entry of `results.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reached {
    /// What is aimed at.
    pub what: String,
    /// What is divided.
    pub over: String,
    /// By what; if by nothing, the figure itself is meant.
    pub under: Option<String>,
    /// The median of the ratios of the runs.
    pub value: f64,
    /// How many runs it is the median of.
    pub runs: usize,
    /// The least of them.
    pub min: f64,
    /// The greatest of them.
    pub max: f64,
    bound: Bound,
    /// What it is to be.
    pub aim: f64,
    /// Whether the median is that.
    pub met: bool,
}

/// How far the aims were reached whose figures were measured.
///
/// The readings of row `rows.len()` are those of [pairs](pair).
pub fn reached(rows: &[(String, String)], readings: &Readings) -> Vec<Reached> {
    let pair = |place| readings.runs(rows.len(), RATIO, place);
    AIMS.iter().enumerate().filter_map(|(place, aim)| reach(aim, pair(place), rows, readings)).collect()
}

fn reach(aim: &Aim, pair: Option<&Runs>, rows: &[(String, String)], readings: &Readings) -> Option<Reached> {
    let over = best(aim.over, rows, readings)?;
    let under = match aim.under {
        Some(under) => Some(best(under, rows, readings)?),
        None => None,
    };
    let values = |(row, metric, bytes): Found| readings.runs(row, metric, bytes);
    let divisors = under.map(values);
    let of_rows = |(run, value): (&usize, &f64)| match divisors {
        None => Some(*value),
        Some(divisors) => divisors?.get(run).map(|divisor| value / divisor),
    };
    let ratios: Vec<f64> = match pair {
        Some(pair) => pair.values().copied().collect(),
        None => values(over)?.iter().filter_map(of_rows).collect(),
    };
    let spread = Spread::of(ratios.iter().copied())?;
    let name = |(row, metric, bytes): Found| {
        let (system, mode) = &rows[row];
        format!("{system} {mode} {metric} {bytes}")
    };
    Some(Reached {
        what: aim.what.to_owned(),
        over: name(over),
        under: under.map(name),
        value: spread.median,
        runs: ratios.len(),
        min: spread.min,
        max: spread.max,
        bound: aim.bound,
        aim: aim.aim,
        met: match aim.bound {
            AtMost => spread.median <= aim.aim,
            AtLeast => spread.median >= aim.aim,
        },
    })
}

fn is_throughput(metric: &str) -> bool {
    ["in_flight", "one_way", "threads"].iter().any(|name| metric.starts_with(name))
}

/// A row that has this figure.
type Found = (usize, &'static str, usize);

fn best(term: Term, rows: &[(String, String)], readings: &Readings) -> Option<Found> {
    let (candidates, metric, bytes) = term;
    let is = |(system, mode): &(String, String)| match candidates {
        Rows::Of(wanted, modes) => system == wanted && modes.contains(&mode.as_str()),
        Rows::Peers => !["rapace", "limit", "in-process"].contains(&system.as_str()),
    };
    let medians = rows.iter().enumerate().filter(|(_, row)| is(row)).filter_map(|(row, _)| {
        let spread = Spread::of(readings.runs(row, metric, bytes)?.values().copied())?;
        Some((row, if is_throughput(metric) { spread.median } else { -spread.median }))
    });
    medians.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(row, _)| (row, metric, bytes))
}

/// The table of aims.
pub fn text(reached: &[Reached]) -> String {
    let width = reached.iter().map(|aim| aim.what.len()).max().unwrap_or_default();
    let mut text = String::from("Aims (median of the ratios of the runs, and min to max)\n");
    for aim in reached {
        let value = [aim.value, aim.min, aim.max].map(plain);
        let [value, min, max] = &value;
        let bound = match aim.bound {
            AtMost => "at most",
            AtLeast => "at least",
        };
        let met = if aim.met { "met" } else { "MISSED" };
        let found = format!("{value} ({min} to {max})");
        let wanted = format!("{bound} {}", plain(aim.aim));
        text += &format!("{:width$} | {found:>32} | {wanted:<16} | {met}\n", aim.what);
    }
    text
}

/// The same in Markdown, with how far what is missed is from its aim.
pub fn markdown(reached: &[Reached]) -> String {
    let mut text = String::from("| what : what | found | least to greatest | aim | |\n|---|---|---|---|---|\n");
    for aim in reached {
        let [value, min, max, bound] = [aim.value, aim.min, aim.max, aim.aim].map(plain);
        let (words, factor) = match aim.bound {
            AtMost => ("at most", aim.value / aim.aim),
            AtLeast => ("at least", aim.aim / aim.value),
        };
        let met = if aim.met { "met".to_owned() } else { format!("**missed** by a factor of {factor:.2}") };
        text += &format!("| {} | {value} | {min} to {max} | {words} {bound} | {met} |\n", aim.what);
    }
    text
}

fn plain(value: f64) -> String {
    let digits = match value {
        value if value >= 1000.0 => return format!("{value:.0}"),
        value if value >= 10.0 => 1,
        value if value >= 0.1 => 2,
        _ => 5,
    };
    format!("{value:.digits$}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The same as parts of the aims, for the chart: 1 is an aim that is just met, less is better. Aims at nothing have no part.
pub fn table(reached: &[Reached]) -> Option<Table> {
    let row = |aim: &Reached| {
        let part = |value: f64| match aim.bound {
            AtMost => value / aim.aim,
            AtLeast => aim.aim / value,
        };
        let (min, max) = (part(aim.min), part(aim.max));
        let cell = Cell { value: part(aim.value), min: min.min(max), max: max.max(min) };
        Row { name: aim.what.clone(), is_ours: !aim.met, is_limit: false, cells: vec![Some(cell)] }
    };
    let rows: Vec<_> = reached.iter().filter(|aim| aim.aim > 0.0).map(row).collect();
    (!rows.is_empty()).then(|| Table {
        name: "aims",
        title: "How far from its aim each ratio is: 1 and less is met; bold is missed".to_owned(),
        unit: "parts of the aim",
        more_is_better: false,
        mark: Some(1.0),
        columns: vec!["part".to_owned()],
        rows,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Reading;

    const P50: &str = "unary_p50";

    fn rows() -> Vec<(String, String)> {
        let rows =
            [("limit", "cache-line"), ("rapace", "raw-blocking"), ("a", "x"), ("b", "y"), ("rapace", "typed-blocking")];
        rows.map(|(system, mode)| (system.to_owned(), mode.to_owned())).to_vec()
    }

    fn readings(values: &[(usize, usize, &str, usize, f64)]) -> Readings {
        let mut readings = Readings::default();
        for (run, row, metric, bytes, value) in values {
            let (metric, unit) = ((*metric).to_owned(), String::new());
            readings.add(*run, *row, Reading { metric, bytes: *bytes, value: *value, unit });
        }
        readings
    }

    #[test]
    fn a_ratio_is_made_within_each_run() {
        // The limit doubles in the second run, and what is measured with it: the ratio stays.
        let found =
            readings(&[(1, 0, P50, 8, 100.0), (1, 1, P50, 8, 120.0), (2, 0, P50, 8, 200.0), (2, 1, P50, 8, 240.0)]);
        let aims = reached(&rows(), &found);
        let [aim] = aims.as_slice() else { panic!("{aims:?}") };
        assert_eq!((aim.value, aim.min, aim.max, aim.runs, aim.met), (1.2, 1.2, 1.2, 2, true));
        assert_eq!(aim.under.as_deref(), Some("limit cache-line unary_p50 8"));
    }

    #[test]
    fn a_run_that_lacks_one_of_the_figures_is_left_out() {
        let found = readings(&[(1, 0, P50, 8, 100.0), (1, 1, P50, 8, 130.0), (2, 1, P50, 8, 1.0)]);
        let aims = reached(&rows(), &found);
        assert_eq!((aims.len(), aims[0].runs, aims[0].value, aims[0].met), (1, 1, 1.3, false));
        assert!(reached(&rows(), &readings(&[(2, 1, P50, 8, 1.0)])).is_empty());
    }

    #[test]
    fn a_pair_goes_before_what_the_rows_say() {
        let found = [(1, 0, P50, 8, 100.0), (1, 1, P50, 8, 400.0), (1, 5, RATIO, 0, 1.1), (2, 5, RATIO, 0, 1.2)];
        let aims = reached(&rows(), &readings(&found));
        assert_eq!((aims.len(), aims[0].runs, aims[0].min, aims[0].max, aims[0].met), (1, 2, 1.1, 1.2, true));
        assert_eq!(pair::pairs(&rows()), [0, 1, 2]);
    }

    #[test]
    fn of_the_peers_the_best_is_meant() {
        let flight = "in_flight_64";
        let found = readings(&[(1, 2, flight, 64, 1e6), (1, 3, flight, 64, 2e6), (1, 4, flight, 64, 6e6)]);
        let aims = reached(&rows(), &found);
        let [absolute, against] = aims.as_slice() else { panic!("{aims:?}") };
        assert!(absolute.met && absolute.value == 6e6);
        assert_eq!((against.value, against.met, against.under.as_deref()), (3.0, false, Some("b y in_flight_64 64")));
    }
}
