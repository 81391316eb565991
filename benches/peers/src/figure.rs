//! A figure: what was measured, in one run, and in all of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One figure of one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reading {
    /// The name of the metric.
    pub metric: String,
    /// The size of the payload, or 0.
    pub bytes: usize,
    /// The figure.
    pub value: f64,
    /// Its unit.
    pub unit: String,
}

/// A figure of all runs: an entry of `results.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figure {
    /// The system.
    pub system: String,
    /// The way in which it was used.
    pub mode: String,
    /// The name of the metric.
    pub metric: String,
    /// The size of the payload, or 0.
    pub bytes: usize,
    /// The median of the runs.
    pub value: f64,
    /// Its unit.
    pub unit: String,
    /// How many runs it is the median of.
    pub runs: usize,
    /// The least of them.
    pub min: f64,
    /// The greatest of them.
    pub max: f64,
}

/// What a figure is of: row, column. Rows are numbered in the order of the race.
type Key = (usize, String, usize);

/// All readings so far.
#[derive(Debug, Default)]
pub struct Readings {
    values: BTreeMap<Key, (String, Runs)>,
}

/// A value of each run that has one.
pub type Runs = BTreeMap<usize, f64>;

impl Readings {
    /// Adds a reading of a row in a run.
    pub fn add(&mut self, run: usize, row: usize, reading: Reading) {
        let entry = self.values.entry((row, reading.metric, reading.bytes)).or_default();
        entry.0 = reading.unit;
        entry.1.insert(run, reading.value);
    }

    /// What the runs have of this.
    pub fn runs(&self, row: usize, metric: &str, bytes: usize) -> Option<&Runs> {
        self.values.get(&(row, metric.to_owned(), bytes)).map(|(_, runs)| runs)
    }

    /// The medians, row by row.
    pub fn figures(&self, rows: &[(String, String)]) -> Vec<Figure> {
        let figure = |((row, metric, bytes), (unit, runs)): (&Key, &(String, Runs))| {
            let (system, mode) = rows.get(*row)?.clone();
            let spread = Spread::of(runs.values().copied())?;
            Some(Figure {
                system,
                mode,
                metric: metric.clone(),
                bytes: *bytes,
                value: spread.median,
                unit: unit.clone(),
                runs: runs.len(),
                min: spread.min,
                max: spread.max,
            })
        };
        self.values.iter().filter_map(figure).collect()
    }
}

/// The median of some values, the least and the greatest of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Of these; `None` if there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<_> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        Some(Self { median: median(&sorted)?, min: *sorted.first()?, max: *sorted.last()? })
    }
}

/// The median of sorted values.
pub fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    Some(if sorted.len().is_multiple_of(2) { (upper + sorted.get(middle - 1)?) / 2.0 } else { upper })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_the_median_of_its_runs_with_their_spread() {
        let mut readings = Readings::default();
        for (run, value) in [3.0, 1.0, 2.0, 9.0].into_iter().enumerate() {
            let (metric, unit) = ("unary_p50".to_owned(), "ns".to_owned());
            readings.add(run, 1, Reading { metric, bytes: 8, value, unit });
        }
        let rows = [("a", "b"), ("c", "d")].map(|(system, mode)| (system.to_owned(), mode.to_owned()));
        let figures = readings.figures(&rows);
        let [figure] = figures.as_slice() else { panic!("{} figures", figures.len()) };
        assert_eq!((figure.system.as_str(), figure.mode.as_str(), figure.runs), ("c", "d", 4));
        assert_eq!((figure.value, figure.min, figure.max), (2.5, 1.0, 9.0));
    }
}
