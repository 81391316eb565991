//! Whether a series grows.

/// Points that a line is drawn through: each is the mean of some that follow one another.
const BLOCKS: usize = 20;

/// What a line through the second half of a series says: the first is the time in which things settle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Trend {
    pub(crate) mean: f64,
    /// From the beginning of that half to its end.
    pub(crate) growth: f64,
    /// Four standard errors of the growth: what chance alone hardly exceeds.
    pub(crate) noise: f64,
}

impl Trend {
    /// The trend of points in the order of time.
    pub(crate) fn of(points: &[(f64, f64)]) -> Self {
        let half = &points[points.len() / 2..];
        let mean_of = |block: &[(f64, f64)], value: fn(&(f64, f64)) -> f64| {
            block.iter().map(value).sum::<f64>() / block.len() as f64
        };
        // Neighbours are alike, so that each of them alone would say less than it seems to.
        let blocks = half.chunks(half.len().div_ceil(BLOCKS).max(1));
        let half: Vec<(f64, f64)> =
            blocks.map(|block| (mean_of(block, |point| point.0), mean_of(block, |point| point.1))).collect();
        let count = half.len() as f64;
        let sum = |value: &dyn Fn(&(f64, f64)) -> f64| half.iter().map(value).sum::<f64>();
        let (time, mean) = (sum(&|point| point.0) / count.max(1.0), sum(&|point| point.1) / count.max(1.0));
        let spread = sum(&|point| (point.0 - time).powi(2));
        if half.len() < 3 || spread == 0.0 {
            // Too short for anything to be said.
            return Self { mean, growth: 0.0, noise: 0.0 };
        }
        let slope = sum(&|point| (point.0 - time) * (point.1 - mean)) / spread;
        let residue = sum(&|point| (point.1 - mean - slope * (point.0 - time)).powi(2)) / (count - 2.0);
        let duration = half[half.len() - 1].0 - half[0].0;
        Self { mean, growth: slope * duration, noise: 4.0 * (residue / spread).sqrt() * duration }
    }

    /// Whether it grows by more than this, and not by chance.
    pub(crate) fn grows_beyond(&self, slack: f64) -> bool {
        self.growth > slack + self.noise
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A series of `count` seconds that begins at 100, grows by `slope` each second and swings by `swing`.
    fn series(count: u32, slope: f64, swing: f64) -> Vec<(f64, f64)> {
        let mut rng = fastrand::Rng::with_seed(4);
        let value = |at: f64, rng: &mut fastrand::Rng| 100.0 + slope * at + swing * (2.0 * rng.f64() - 1.0);
        (0..count).map(|at| (at.into(), value(at.into(), &mut rng))).collect()
    }

    #[test]
    fn a_growing_series_is_told_from_a_steady_one() {
        for (points, grows) in [
            (series(60, 0.0, 0.0), false),
            (series(60, 0.0, 10.0), false),
            (series(3600, 0.0, 10.0), false),
            (series(60, 1.0, 10.0), true),
            (series(3600, 0.01, 10.0), true),
            (series(60, -1.0, 10.0), false),
            (series(60, 0.01, 0.0), false),
        ] {
            let trend = Trend::of(&points);
            assert_eq!(trend.grows_beyond(2.0), grows, "{trend:?}");
        }
    }

    #[test]
    fn growth_in_the_first_half_alone_is_no_growth() {
        let points: Vec<(f64, f64)> = (0..100).map(|at| (at.into(), f64::from(at.min(50)))).collect();
        assert!(!Trend::of(&points).grows_beyond(2.0));
    }

    #[test]
    fn too_short_a_series_says_nothing() {
        for count in 0..5 {
            assert!(!Trend::of(&series(count, 100.0, 0.0)).grows_beyond(0.0));
        }
    }
}
