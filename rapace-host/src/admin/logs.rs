//! Lines of logs for an operator: what is there, and what follows. Nothing is kept for him: where he is too slow, lines are
//! gone from the plugin's own tail, and he is told how many.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use rapace_host_api::admin::{AdminError, LogItem, LogQuery};
use rapace_service::Stream;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use crate::host::{PluginHost, WeakHost};
use crate::log_tail::{LINES_MAX, LogTail};
use crate::plugin::PluginHandle;

/// Lines of one plugin that are taken at once.
const LINES_AT_ONCE: usize = 32;

/// Some lines, and perhaps those behind them.
pub(super) struct LogStream {
    /// None when nothing more will come than what is there.
    follows: Option<Follows>,
    items: VecDeque<Result<LogItem, AdminError>>,
}

struct Follows {
    host: WeakHost,
    plugin: Option<String>,
    bell: Arc<Notify>,
    rings: Option<Pin<Box<OwnedNotified>>>,
    /// Which line of each tail was the last one taken.
    taken: Vec<(Weak<LogTail>, u64)>,
}

impl LogStream {
    pub(super) fn new(host: &WeakHost, query: LogQuery) -> Self {
        match Self::of(host, query) {
            Ok(stream) => stream,
            Err(error) => Self { follows: None, items: VecDeque::from([Err(error)]) },
        }
    }

    fn of(weak: &WeakHost, query: LogQuery) -> Result<Self, AdminError> {
        let host = weak.upgrade().ok_or(AdminError::ShuttingDown)?;
        let plugins = wanted(&host, query.plugin.as_deref());
        if let (Some(name), true) = (&query.plugin, plugins.is_empty()) {
            return Err(AdminError::UnknownPlugin { name: name.clone() });
        }
        let most = usize::try_from(query.last).unwrap_or(LINES_MAX).min(LINES_MAX);
        let (mut lines, mut taken) = (Vec::new(), Vec::new());
        for plugin in &plugins {
            let tail = plugin.0.scope.tail();
            let (number, last) = tail.last_with_number(most);
            lines.extend(last);
            taken.push((Arc::downgrade(tail), number));
        }
        lines.sort_by_key(|line| line.unix_ms);
        let from = lines.len().saturating_sub(most);
        let items = lines.drain(from..).map(|line| Ok(LogItem::Line((*line).clone()))).collect();
        let (bell, host, plugin) = (Arc::clone(&host.context.log_bell), weak.clone(), query.plugin);
        let follows = query.follow.then(|| Follows { host, plugin, bell, rings: None, taken });
        Ok(Self { follows, items })
    }
}

fn wanted(host: &PluginHost, plugin: Option<&str>) -> Vec<PluginHandle> {
    match plugin {
        Some(name) => host.plugin(name).into_iter().collect(),
        None => host.plugins(),
    }
}

impl Follows {
    /// Takes what has come; `None` when the host is gone.
    fn take(&mut self) -> Option<VecDeque<Result<LogItem, AdminError>>> {
        let host = self.host.upgrade()?;
        self.taken.retain(|(tail, _)| tail.strong_count() > 0);
        let (mut missing, mut lines) = (Vec::new(), Vec::new());
        for plugin in wanted(&host, self.plugin.as_deref()) {
            let tail = plugin.0.scope.tail();
            let known = self.taken.iter().position(|(known, _)| known.as_ptr() == Arc::as_ptr(tail));
            let at = known.unwrap_or_else(|| {
                // It was loaded since.
                self.taken.push((Arc::downgrade(tail), 0));
                self.taken.len() - 1
            });
            let taken = &mut self.taken[at].1;
            let (missed, next) = tail.behind(*taken, LINES_AT_ONCE);
            if missed > 0 {
                missing.push(LogItem::Missed { plugin: plugin.name().to_owned(), lines: missed });
            }
            *taken = next.last().map_or(*taken + missed, |line| line.number);
            lines.extend(next);
        }
        lines.sort_by_key(|line| line.unix_ms);
        let lines = lines.into_iter().map(|line| LogItem::Line((*line).clone()));
        Some(missing.into_iter().chain(lines).map(Ok).collect())
    }
}

impl Stream for LogStream {
    type Item = Result<LogItem, AdminError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(item) = this.items.pop_front() {
                return Poll::Ready(Some(item));
            }
            let Some(follows) = &mut this.follows else { return Poll::Ready(None) };
            // Before it is looked, so that no line comes between.
            let rings = follows.rings.get_or_insert_with(|| Box::pin(Arc::clone(&follows.bell).notified_owned()));
            let rung = rings.as_mut().poll(cx).is_ready();
            if rung {
                follows.rings = None;
            }
            match follows.take() {
                None => this.follows = None,
                Some(items) if items.is_empty() && !rung => return Poll::Pending,
                Some(items) => this.items = items,
            }
        }
    }
}
