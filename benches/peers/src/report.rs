//! What is shown of a full run outside this package: some charts, all tables, and the marked parts of PERFORMANCE.md.

mod marked;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::aims::{self, Reached};
use crate::figure::Figure;
use crate::header::Header;
use crate::table::{self, Cell, Table, number};
use crate::{Error, chart};

/// The document with marked parts.
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../PERFORMANCE.md");
/// The tables that have a chart there. The others are easier to read as numbers.
const CHARTS: [&str; 7] = ["unary-p50", "unary-p99", "in-flight", "one-way", "silence", "cpu", "aims"];

/// Whose best figure stands beside rapace's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nobody,
    All,
    /// Those that sleep while they wait.
    Sleepers,
}
use Beside::{All, Nobody, Sleepers};

/// What is expected first: a name, the modes of rapace that it is about, the metric, bytes, and who is beside it.
type Expected = (&'static str, &'static [&'static str], &'static str, usize, Beside);

const EXPECTED: [Expected; 16] = [
    ("blocking call, 8 B, both sides spin", &["typed-blocking"], "unary_p50", 8, All),
    ("blocking call, 8 B, defaults", &["typed-default"], "unary_p50", 8, Sleepers),
    ("call in a tokio program, 8 B, defaults", &["typed-tokio"], "unary_p50", 8, Sleepers),
    ("blocking call, 4 KiB", &["typed-blocking"], "unary_p50", 4 << 10, All),
    ("blocking call, 64 KiB, copied", &["typed-blocking"], "unary_p50", 64 << 10, All),
    ("blocking call, 64 KiB, in place", &["raw-in-place"], "unary_p50", 64 << 10, All),
    ("blocking call, 1 MiB, copied", &["typed-blocking"], "unary_p50", 1 << 20, All),
    ("blocking call, 1 MiB, in place", &["raw-in-place"], "unary_p50", 1 << 20, All),
    ("an item there and one back in streams, 8 B", &["stream"], "unary_p50", 8, Nobody),
    ("64 calls of 64 B in flight", &["typed-blocking", "typed-default", "typed-tokio"], "in_flight_64", 64, All),
    ("1 MiB one way, built in place", &["raw-in-place"], "one_way", 1 << 20, All),
    ("first call after 1 ms of silence, defaults", &["typed-default"], "first_call_after_1ms", 8, Sleepers),
    ("first call after 1 s of silence, defaults", &["typed-default"], "first_call_after_1s", 8, Sleepers),
    ("from spawn to the first reply, plugin of a host", &["host"], "spawn_to_first_reply", 0, All),
    ("processor time at rest, defaults", &["typed-default"], "idle_cpu", 0, Nobody),
    ("memory of both sides after calls of all sizes", &["typed-default"], "memory", 0, Nobody),
];

/// A `results.json`.
#[derive(Debug, Deserialize)]
struct Results {
    header: Header,
    figures: Vec<Figure>,
    aims: Vec<Reached>,
}

/// Writes the charts and `tables.md` of the results in this folder to another, and the marked parts of the document.
pub fn write(results: &Path, to: &Path) -> Result<(), Error> {
    let path = results.join("results.json");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}; run the race first", path.display()))?;
    let Results { header, figures, aims } = serde_json::from_str(&text)?;
    let mut rows: Vec<(String, String)> = figures.iter().map(|f| (f.system.clone(), f.mode.clone())).collect();
    rows.dedup();
    let tables = table::tables(&rows, &figures);
    fs::create_dir_all(to)?;
    for table in tables.iter().chain(&aims::table(&aims)).filter(|table| CHARTS.contains(&table.name)) {
        fs::write(to.join(format!("{}.svg", table.name)), chart::draw(table, &header))?;
    }
    fs::write(to.join("tables.md"), all(&header, &tables))?;
    let mut document = fs::read_to_string(DOCUMENT)?;
    for (name, part) in [("machine", machine(&header)), ("expect", expect(&figures)), ("aims", aims::markdown(&aims))] {
        document = marked::replace(&document, name, &part)?;
    }
    fs::write(DOCUMENT, document)?;
    println!("{} and {DOCUMENT} show {}", to.display(), path.display());
    Ok(())
}

fn all(header: &Header, tables: &[Table]) -> String {
    let mut text = format!(
        "# All tables of the race\n\nMedians of the runs, and from the least to the greatest.\n\n{}",
        machine(header)
    );
    for table in tables {
        let better = if table.more_is_better { "more" } else { "less" };
        // To write to a string cannot fail.
        let _ = write!(text, "\n## {}, {} ({better} is better)\n\n", table.title, table.unit);
        if CHARTS.contains(&table.name) {
            let _ = write!(text, "[Chart]({}.svg)\n\n", table.name);
        }
        let _ = writeln!(text, "| | {} |\n|---|{}", table.columns.join(" | "), "---|".repeat(table.columns.len()));
        for row in &table.rows {
            let cells: Vec<_> = row.cells.iter().map(|cell| cell.map_or_else(String::new, shown)).collect();
            let _ = writeln!(text, "| `{}` | {} |", row.name, cells.join(" | "));
        }
    }
    text
}

fn shown(cell: Cell) -> String {
    format!("{} ({} to {})", number(cell.value), number(cell.min), number(cell.max))
}

fn machine(header: &Header) -> String {
    let mut text = String::new();
    for line in header.to_string().lines() {
        text += &format!("    {line}\n");
    }
    text
}

fn expect(figures: &[Figure]) -> String {
    let mut text = String::from("| | rapace | least to greatest | the best of the others |\n|---|---|---|---|\n");
    for (what, modes, metric, bytes, beside) in EXPECTED {
        let of = |f: &&Figure| f.metric == metric && f.bytes == bytes;
        let ours = best(figures.iter().filter(of).filter(|f| f.system == "rapace" && modes.contains(&f.mode.as_str())));
        let is_peer = |f: &&Figure| {
            let wanted = beside == All || beside == Sleepers && !f.mode.ends_with("polling");
            wanted && !["rapace", "limit", "in-process"].contains(&f.system.as_str())
        };
        let peer = best(figures.iter().filter(of).filter(is_peer));
        let Some(ours) = ours else { continue };
        let (scale, unit) = unit(&ours.unit);
        let peer = peer.map_or_else(String::new, |peer| {
            format!("{} {unit}, {} {}", number(peer.value * scale), peer.system, peer.mode)
        });
        let [value, min, max] = [ours.value, ours.min, ours.max].map(|value| number(value * scale));
        text += &format!("| {what} | {value} {unit} | {min} to {max} | {peer} |\n");
    }
    text
}

/// How figures of a unit are shown.
fn unit(unit: &str) -> (f64, &str) {
    match unit {
        "ns" => (1e-3, "us"),
        "calls/s" => (1e-6, "million/s"),
        "B" | "bytes" => (1.0 / 1_048_576.0, "MiB"),
        other => (1.0, other),
    }
}

fn best<'a>(figures: impl Iterator<Item = &'a Figure>) -> Option<&'a Figure> {
    let rank = |figure: &Figure| if figure.unit.ends_with("/s") { figure.value } else { -figure.value };
    figures.max_by(|a, b| rank(a).total_cmp(&rank(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(system: &str, mode: &str, metric: &str, unit: &str, value: f64) -> Figure {
        let [system, mode, metric, unit] = [system, mode, metric, unit].map(ToOwned::to_owned);
        let bytes = if metric == "in_flight_64" { 64 } else { 8 };
        Figure { system, mode, metric, bytes, value, unit, runs: 1, min: value, max: value }
    }

    #[test]
    fn the_best_peer_stands_beside_rapace_and_the_best_sleeper_beside_its_defaults() {
        let figures = [
            figure("limit", "cache-line", "unary_p50", "ns", 90.0),
            figure("rapace", "typed-blocking", "unary_p50", "ns", 400.0),
            figure("rapace", "typed-default", "unary_p50", "ns", 500.0),
            figure("a", "polling", "unary_p50", "ns", 1200.0),
            figure("b", "y", "unary_p50", "ns", 2000.0),
            figure("rapace", "typed-tokio", "in_flight_64", "calls/s", 4e6),
            figure("rapace", "typed-default", "in_flight_64", "calls/s", 3e6),
            figure("a", "x", "in_flight_64", "calls/s", 1e6),
            figure("b", "y", "in_flight_64", "calls/s", 2e6),
        ];
        let text = expect(&figures);
        let rows: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| blocking call, 8 B, both sides spin | 0.400 us | 0.400 to 0.400 | 1.20 us, a polling |",
                "| blocking call, 8 B, defaults | 0.500 us | 0.500 to 0.500 | 2.00 us, b y |",
                "| 64 calls of 64 B in flight | 4.00 million/s | 4.00 to 4.00 | 2.00 million/s, b y |",
            ]
        );
    }
}
