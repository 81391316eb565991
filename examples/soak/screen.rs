//! What is seen while it runs: a line that is rewritten in a terminal, and one every ten seconds elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Between two lines that stay.
const LINE_EVERY: Duration = Duration::from_secs(10);

pub(crate) enum Screen {
    Bar(ProgressBar),
    Lines { due: Duration },
}

impl Screen {
    pub(crate) fn new() -> Self {
        if !std::io::stdout().is_terminal() {
            return Self::Lines { due: LINE_EVERY };
        }
        let bar = ProgressBar::new_spinner();
        bar.set_draw_target(indicatif::ProgressDrawTarget::stdout());
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            bar.set_style(style);
        }
        Self::Bar(bar)
    }

    /// Shows how it stands at this time.
    pub(crate) fn show(&mut self, at: Duration, parts: &[String]) {
        match self {
            Self::Bar(bar) => bar.set_message(parts.join("\n")),
            Self::Lines { due } if at >= *due => {
                println!("{}", parts.join("  "));
                *due = at + LINE_EVERY;
            }
            Self::Lines { .. } => {}
        }
    }

    /// What was rewritten is gone; what comes now stays.
    pub(crate) fn finish(self) {
        if let Self::Bar(bar) = self {
            bar.finish();
        }
    }
}
