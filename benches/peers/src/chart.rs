//! A chart of a table: a line for each row, a dot for each figure, on a logarithmic axis.

use std::fmt::Write;

use crate::header::Header;
use crate::table::{Row, Table, number};

const COLOURS: [&str; 6] = ["#0b5fa5", "#1b9e77", "#d9a400", "#e0701b", "#c2255c", "#6a3d9a"];
/// Where values begin is where the names end: so wide is a letter of them at most.
const LETTER: f64 = 7.6;
const VALUES: f64 = 700.0;
/// Left of the axis, where what is nothing lies, which a logarithm has no place for.
const NOTHING: f64 = 40.0;
const RIGHT: f64 = 70.0;
const TOP: f64 = 84.0;
const LINE: f64 = 24.0;

/// The chart as SVG.
pub fn draw(table: &Table, header: &Header) -> String {
    let axis = Axis::over(table);
    let width = axis.left + VALUES + RIGHT;
    let bottom = TOP + LINE * table.rows.len() as f64;
    let height = bottom + 62.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let better = if table.more_is_better { "to the right is better" } else { "to the left is better" };
    text(&mut svg, 16.0, 24.0, "start", "font-size=\"16\" font-weight=\"bold\"", &table.title);
    text(
        &mut svg,
        16.0,
        42.0,
        "start",
        "fill=\"#555\"",
        &format!("{}, logarithmic; {better}; bars: min to max", table.unit),
    );
    legend(&mut svg, table, axis.left);
    for (value, labelled) in axis.ticks() {
        let x = axis.x(value);
        let colour = if labelled { "#bbb" } else { "#eee" };
        line(&mut svg, (x, TOP), (x, bottom), colour, 1.0);
        if labelled {
            text(&mut svg, x, bottom + 16.0, "middle", "", &plain(value));
        }
    }
    if axis.has_nothing {
        let x = axis.left - NOTHING;
        line(&mut svg, (x, TOP), (x, bottom), "#bbb", 1.0);
        text(&mut svg, x, bottom + 16.0, "middle", "", "0");
    }
    if let Some(mark) = table.mark {
        let x = axis.x(mark);
        line(&mut svg, (x, TOP - 8.0), (x, bottom), "#c2255c", 2.0);
    }
    for (index, row) in table.rows.iter().enumerate() {
        draw_row(&mut svg, &axis, table, row, TOP + LINE * (index as f64 + 0.5));
    }
    let machine = format!(
        "{} × {}, Linux {}; {} UTC; rapace {}; {} runs",
        header.processors, header.processor, header.kernel, header.date, header.revision, header.runs
    );
    text(&mut svg, 16.0, height - 12.0, "start", "fill=\"#555\" font-size=\"11\"", &machine);
    svg + "</svg>\n"
}

fn draw_row(svg: &mut String, axis: &Axis, table: &Table, row: &Row, y: f64) {
    let style = match row {
        Row { is_ours: true, .. } => "font-weight=\"bold\" fill=\"#0b5fa5\"",
        Row { is_limit: true, .. } => "font-style=\"italic\" fill=\"#555\"",
        _ => "",
    };
    line(svg, (axis.names, y + LINE / 2.0), (axis.left + VALUES, y + LINE / 2.0), "#f3f3f3", 1.0);
    text(svg, axis.names - 10.0, y + 4.0, "end", style, &row.name);
    let mut last = 0.0f64;
    for (column, cell) in row.cells.iter().enumerate() {
        let Some(cell) = cell else { continue };
        let (x, colour) = (axis.x(cell.value), COLOURS[column % COLOURS.len()]);
        last = last.max(axis.x(cell.max));
        // Bars lie beside each other, for they overlap.
        let y = y + 2.0 * (column as f64 - (table.columns.len() - 1) as f64 / 2.0);
        line(svg, (axis.x(cell.min), y), (axis.x(cell.max), y), colour, 1.5);
        let title = format!("{}: {} {}", table.columns[column], number(cell.value), table.unit);
        _ = writeln!(
            svg,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\" fill=\"{colour}\"><title>{title}</title></circle>"
        );
    }
    if let ([Some(cell)], true) = (row.cells.as_slice(), table.columns.len() == 1) {
        // With a rim, for it may lie on a line.
        let style = "fill=\"#333\" stroke=\"white\" stroke-width=\"4\" paint-order=\"stroke\"";
        text(svg, last + 10.0, y + 4.0, "start", style, &number(cell.value));
    }
}

fn legend(svg: &mut String, table: &Table, left: f64) {
    if table.columns.len() < 2 {
        return;
    }
    for (index, column) in table.columns.iter().enumerate() {
        let x = left + 110.0 * index as f64;
        let colour = COLOURS[index % COLOURS.len()];
        _ = writeln!(svg, "<circle cx=\"{x}\" cy=\"62\" r=\"5\" fill=\"{colour}\"/>");
        text(svg, x + 10.0, 66.0, "start", "", column);
    }
}

/// Where values lie.
struct Axis {
    low: f64,
    high: f64,
    /// Where names end, and where the least value lies.
    names: f64,
    left: f64,
    has_nothing: bool,
}

impl Axis {
    /// Of whole decades, from the least to the greatest of all.
    fn over(table: &Table) -> Self {
        let cells = || table.rows.iter().flat_map(|row| row.cells.iter().flatten());
        let least = cells().map(|cell| cell.min).filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
        let greatest = cells().map(|cell| cell.max).fold(0.0, f64::max);
        let longest = table.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or_default();
        let (names, has_nothing) = (longest as f64 * LETTER + 26.0, cells().any(|cell| cell.min <= 0.0));
        let left = if has_nothing { names + 1.5 * NOTHING } else { names };
        if greatest <= 0.0 {
            return Self { low: -2.0, high: 0.0, names, left, has_nothing };
        }
        let low = least.log10().floor().max(greatest.log10() - 9.0);
        Self { low, high: greatest.log10().ceil().max(low + 1.0), names, left, has_nothing }
    }

    /// What is less than the axis has lies at its left end.
    fn x(&self, value: f64) -> f64 {
        if value <= 0.0 {
            return self.left - NOTHING;
        }
        let place = (value.log10().clamp(self.low, self.high) - self.low) / (self.high - self.low);
        self.left + place * VALUES
    }

    /// The lines of the grid, and whether they have a number.
    fn ticks(&self) -> Vec<(f64, bool)> {
        let mut ticks = Vec::new();
        let mut decade = self.low.floor();
        while decade <= self.high {
            ticks.push((10f64.powf(decade), true));
            if decade < self.high {
                ticks.extend((2..10).map(|part| (f64::from(part) * 10f64.powf(decade), false)));
            }
            decade += 1.0;
        }
        ticks
    }
}

fn plain(value: f64) -> String {
    let rounded = format!("{value:.9}");
    rounded.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), colour: &str, width: f64) {
    _ = writeln!(
        svg,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\" stroke-width=\"{width}\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, style: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {style}>{words}</text>");
}
