//! The tables: which figures stand beside each other.

use std::fmt;

use crate::figure::Figure;
use crate::plan::{ONE_WAY_SIZES, SIZES};

/// A table: a row for each system and mode.
#[derive(Debug)]
pub struct Table {
    /// The name of its chart's file.
    pub name: &'static str,
    /// What is shown.
    pub title: String,
    /// The unit of all figures.
    pub unit: &'static str,
    /// Whether more is better.
    pub more_is_better: bool,
    /// Where the chart has a line.
    pub mark: Option<f64>,
    /// What each column shows.
    pub columns: Vec<String>,
    /// Names and figures.
    pub rows: Vec<Row>,
}

/// A row: whose figures, and the figures.
#[derive(Debug)]
pub struct Row {
    /// The system and the way in which it was used.
    pub name: String,
    /// Whether it stands for rapace.
    pub is_ours: bool,
    /// Whether it is a physical limit.
    pub is_limit: bool,
    /// A cell for each column.
    pub cells: Vec<Option<Cell>>,
}

/// A figure in the unit of its table.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// The median.
    pub value: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

/// The tables that have any figures.
pub fn tables(rows: &[(String, String)], figures: &[Figure]) -> Vec<Table> {
    let sizes: Vec<_> = SIZES.map(|size| ("", size)).to_vec();
    let unary = |metric: &'static str| sizes.iter().map(|(_, size)| (metric, *size)).collect::<Vec<_>>();
    let one_way: Vec<_> = ONE_WAY_SIZES.map(|size| ("one_way", size)).to_vec();
    let silence = vec![("first_call_after_1ms", 8), ("first_call_after_10ms", 8), ("first_call_after_1s", 8)];
    let plugins = vec![("plugins_1", 8), ("plugins_8", 8), ("plugins_32", 8), ("plugins_200", 8)];
    let threads = vec![("threads_1", 8), ("threads_4", 8), ("threads_16", 8), ("threads_64", 8)];
    let all = [
        ("unary-p50", "Unary round trip, sequential, median", "us", 1e-3, false, unary("unary_p50")),
        ("unary-p99", "Unary round trip, sequential, 99 of 100 are faster", "us", 1e-3, false, unary("unary_p99")),
        ("unary-p999", "Unary round trip, sequential, 999 of 1000 are faster", "us", 1e-3, false, unary("unary_p999")),
        ("in-flight", "64 calls of 64 B in flight", "thousand calls/s", 1e-3, true, vec![("in_flight_64", 64)]),
        ("one-way", "Payloads one way", "GB/s", 1.0, true, one_way),
        ("silence", "First call after a silence, 8 B", "us", 1e-3, false, silence),
        (
            "cpu",
            "Processor time of a call on both sides, sequential, 8 B",
            "us",
            1e-3,
            false,
            vec![("cpu_per_call", 8)],
        ),
        (
            "bells-and-sleeps",
            "Bells and sleeps of both sides, sequential, 8 B",
            "per call",
            1.0,
            false,
            vec![("bells_and_sleeps", 8)],
        ),
        ("idle", "Processor time of both sides at rest", "%", 1.0, false, vec![("idle_cpu", 0)]),
        ("idle-wake-ups", "Wake-ups of both sides at rest", "per s", 1.0, false, vec![("idle_wake_ups", 0)]),
        (
            "spawn",
            "From the start of a process to its first reply",
            "ms",
            1e-6,
            false,
            vec![("spawn_to_first_reply", 0)],
        ),
        (
            "memory",
            "Memory of both sides after calls of all sizes",
            "MiB",
            1.0 / 1_048_576.0,
            false,
            vec![("memory", 0)],
        ),
        ("plugins", "Calls of one of several servers of a client, 8 B, median", "us", 1e-3, false, plugins),
        ("threads", "Calls of several threads at once, one session, 8 B", "thousand calls/s", 1e-3, true, threads),
        (
            "growth",
            "Calls in a row, 8 B, mean of a million",
            "us",
            1e-3,
            false,
            vec![("calls_1m", 8), ("calls_10m", 8)],
        ),
    ];
    all.into_iter()
        .map(|(name, title, unit, scale, more_is_better, columns)| {
            let rows = rows.iter().map(|row| self::row(row, &columns, figures, scale)).collect::<Vec<_>>();
            let used = |index: &usize| rows.iter().any(|row| row.cells.get(*index).is_some_and(Option::is_some));
            let used: Vec<_> = (0..columns.len()).filter(used).collect();
            let keep = |row: Row| Row { cells: used.iter().map(|index| row.cells[*index]).collect(), ..row };
            Table {
                name,
                title: title.to_owned(),
                unit,
                more_is_better,
                mark: None,
                columns: used.iter().map(|index| heading(columns[*index])).collect(),
                rows: rows.into_iter().map(keep).filter(|row| row.cells.iter().any(Option::is_some)).collect(),
            }
        })
        .filter(|table| !table.rows.is_empty())
        .collect()
}

fn row((system, mode): &(String, String), columns: &[(&str, usize)], figures: &[Figure], scale: f64) -> Row {
    let cell = |(metric, bytes): &(&str, usize)| {
        let is = |f: &&Figure| f.system == *system && f.mode == *mode && f.metric == *metric && f.bytes == *bytes;
        let figure = figures.iter().find(is)?;
        Some(Cell { value: figure.value * scale, min: figure.min * scale, max: figure.max * scale })
    };
    Row {
        name: format!("{system} {mode}"),
        is_ours: system == "rapace",
        is_limit: system == "limit",
        cells: columns.iter().map(cell).collect(),
    }
}

fn heading((metric, bytes): (&str, usize)) -> String {
    match metric.rsplit_once('_') {
        Some(("first_call_after", silence)) => silence.to_owned(),
        Some(("plugins", "1")) => "1 server".to_owned(),
        Some(("threads", "1")) => "1 thread".to_owned(),
        Some(("threads", count)) => format!("{count} threads"),
        Some(("calls", "1m")) => "first million".to_owned(),
        Some(("calls", million)) => format!("{}th million", million.trim_end_matches('m')),
        Some(("plugins", count)) => format!("{count} servers"),
        _ => match bytes {
            0 => metric.replace('_', " "),
            bytes if bytes >= 1 << 20 => format!("{} MiB", bytes >> 20),
            bytes if bytes >= 1 << 10 => format!("{} KiB", bytes >> 10),
            bytes => format!("{bytes} B"),
        },
    }
}

/// A figure in as many places as it deserves.
pub fn number(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value if value >= 1.0 => format!("{value:.2}"),
        value if value >= 0.001 => format!("{value:.3}"),
        value if value > 0.0 => format!("{value:.1e}"),
        _ => "0".to_owned(),
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let better = if self.more_is_better { "more is better" } else { "less is better" };
        writeln!(f, "{}, {} ({better}; median, and min to max of the runs)", self.title, self.unit)?;
        let width = self.rows.iter().map(|row| row.name.len()).max().unwrap_or_default();
        write!(f, "{:width$}", "")?;
        self.columns.iter().try_for_each(|column| write!(f, " | {column:>23}"))?;
        writeln!(f)?;
        for row in &self.rows {
            write!(f, "{:width$}", row.name)?;
            for cell in &row.cells {
                let text = cell.map_or_else(
                    || "-".to_owned(),
                    |cell| format!("{} ({} to {})", number(cell.value), number(cell.min), number(cell.max)),
                );
                write!(f, " | {text:>23}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
