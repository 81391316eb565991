//! SIGINT and SIGTERM end a host in good order.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use parking_lot::Mutex;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};
use tokio::task::spawn_blocking;

use crate::host::PluginHost;

/// What asks a host to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndSignal {
    /// SIGINT, as Ctrl-C at a terminal.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl fmt::Display for EndSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        })
    }
}

/// SIGINT and SIGTERM, which do not end the process any more.
#[derive(Debug)]
pub struct EndSignals {
    first: Mutex<Receiver<EndSignal>>,
}

impl PluginHost {
    /// From now on SIGINT and SIGTERM are told here, and do not end this process. The second of them kills all plugins that
    /// run then, so that a shutdown that takes its time comes to its end. One that comes before this, while plugins are being
    /// started, ends the host at once, and its plugins end behind it.
    ///
    /// ```no_run
    /// # fn run(host: rapace_host::PluginHost) -> std::io::Result<()> {
    /// let signals = host.end_signals()?;
    /// println!("{}: shutting down", signals.wait());
    /// host.shutdown();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When the system refuses to tell of signals.
    pub fn end_signals(&self) -> io::Result<EndSignals> {
        let (told, first) = channel();
        let (mut interrupts, mut terminations) = self
            .context
            .attendance
            .within(|| Ok::<_, io::Error>((signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)))?;
        // The task is the host's, and does not keep it.
        let plugins = Arc::downgrade(&self.plugins);
        self.context.attendance.spawn(async move {
            let mut is_first = true;
            while let Some(signal) = next(&mut interrupts, &mut terminations).await {
                tracing::info!(%signal, "told to end");
                if std::mem::take(&mut is_first) {
                    // Nobody may be waiting.
                    let _ = told.send(signal);
                    continue;
                }
                let Some(plugins) = plugins.upgrade().map(|plugins| plugins.lock().loaded()) else { return };
                let killed = spawn_blocking(move || plugins.iter().for_each(|plugin| _ = plugin.kill()));
                let _ = killed.await;
            }
        });
        Ok(EndSignals { first: Mutex::new(first) })
    }
}

impl EndSignals {
    /// Waits until there is one, or the host is gone.
    pub fn wait(&self) -> EndSignal {
        self.first.lock().recv().unwrap_or(EndSignal::Terminate)
    }

    /// Whether there has been one; it is told once.
    pub fn check(&self) -> Option<EndSignal> {
        self.first.try_lock()?.try_recv().ok()
    }
}

async fn next(interrupts: &mut Stream, terminations: &mut Stream) -> Option<EndSignal> {
    std::future::poll_fn(|cx| {
        let of = |stream: &mut Stream, signal, cx: &mut _| stream.poll_recv(cx).map(|told| told.map(|()| signal));
        let told = of(interrupts, EndSignal::Interrupt, cx);
        if told.is_ready() { told } else { of(terminations, EndSignal::Terminate, cx) }
    })
    .await
}
