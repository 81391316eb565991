//! What calls were counted, as data and as a table.

use std::fmt;

use rapace_session::{Code, Latency};

use super::call::CallSide;

/// What a [`CallMetrics`](super::CallMetrics) has counted. Its display is a table, a line for each method and side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsSnapshot {
    /// The methods that were called, by service, name and side.
    pub methods: Vec<MethodMetrics>,
}

/// What was counted of one method on one side.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MethodMetrics {
    /// The service's name.
    pub service: &'static str,
    /// The method's name in it.
    pub method: &'static str,
    /// The side on which the calls were counted.
    pub side: CallSide,
    /// Calls that went well.
    pub ok: u64,
    /// Calls that failed, by code; codes that did not occur are left out.
    pub errors: Vec<(Code, u64)>,
    /// Calls that have not ended.
    pub in_flight: u64,
    /// Bytes of all requests that have ended, with their items.
    pub request_bytes: u64,
    /// Bytes of all replies, with their items.
    pub response_bytes: u64,
    /// How long the calls took, those that failed too.
    pub latency: Latency,
}

impl MethodMetrics {
    /// Calls that have ended.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.ok + self.failed()
    }

    /// Calls that have failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.errors.iter().map(|(_, count)| count).sum()
    }

    fn cells(&self) -> [String; 10] {
        let errors: Vec<_> = self.errors.iter().map(|(code, count)| format!("{code} {count}")).collect();
        [
            format!("{}.{}", self.service, self.method),
            self.side.to_string(),
            self.calls().to_string(),
            self.in_flight.to_string(),
            self.latency.quantile_in_words(500),
            self.latency.quantile_in_words(990),
            self.latency.quantile_in_words(1000),
            self.request_bytes.to_string(),
            self.response_bytes.to_string(),
            if errors.is_empty() { "-".to_owned() } else { errors.join(", ") },
        ]
    }
}

impl fmt::Display for MetricsSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["method", "side", "calls", "in flight", "p50", "p99", "max", "bytes in", "bytes out", "errors"];
        let rows: Vec<_> =
            std::iter::once(head.map(str::to_owned)).chain(self.methods.iter().map(MethodMetrics::cells)).collect();
        let widths: [usize; 10] =
            std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default());
        for row in &rows {
            let [method, side, numbers @ .., errors] = row;
            write!(f, "{method:0$}  {side:1$}", widths[0], widths[1])?;
            for (number, width) in numbers.iter().zip(&widths[2..]) {
                write!(f, "  {number:>width$}")?;
            }
            writeln!(f, "  {errors}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::histogram::Histogram;
    use super::*;

    #[test]
    fn a_snapshot_is_shown_as_a_table() {
        let histogram = Histogram::new();
        for micros in [3, 3, 900] {
            histogram.add(Duration::from_micros(micros));
        }
        let get = MethodMetrics {
            service: "demo.Kv",
            method: "get",
            side: CallSide::Caller,
            ok: 1,
            errors: vec![(Code::NotFound, 1), (Code::Internal, 1)],
            in_flight: 12,
            request_bytes: 1234,
            response_bytes: 5,
            latency: histogram.snapshot(),
        };
        let idle = MethodMetrics {
            side: CallSide::Callee,
            ok: 0,
            errors: Vec::new(),
            latency: Histogram::new().snapshot(),
            ..get.clone()
        };
        let expected = "\
method       side    calls  in flight      p50     p99     max  bytes in  bytes out  errors
demo.Kv.get  caller      3         12  3072 ns  917 us  917 us      1234          5  NotFound 1, Internal 1
demo.Kv.get  callee      0         12        -       -       -      1234          5  -
";
        assert_eq!(MetricsSnapshot { methods: vec![get, idle] }.to_string(), expected);
    }
}
