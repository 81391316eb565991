//! Answers Prometheus: one thread, asleep while nobody asks, and bounds on all that a client may cost.
//!
//! A connection is for one request, has a few seconds, and is pushed out by newer ones when there are too many: who holds
//! connections open loses them, and who asks is answered. What a client sends is read into one small buffer. However often is
//! asked, the plugins are looked at ten times a second at most.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::{snapshot_of, text};
use crate::complaint::Complaint;
use crate::host::{PluginHost, Plugins};

/// The name of the thread.
const THREAD_NAME: &str = "rapace-metrics";
/// Connections at once.
const CONNECTIONS_MAX: usize = 8;
/// What a client may take for the head of its request, and for all of it and the answer.
const HEAD_TIME: Duration = Duration::from_secs(2);
const CONNECTION_TIME: Duration = Duration::from_secs(5);
/// The head of a request.
const HEAD_BYTES_MAX: usize = 8 << 10;
const HEADERS_MAX: usize = 64;
/// Whoever asks again within this is given the same text.
const FRESH: Duration = Duration::from_millis(100);
/// How long it rests when the system has no descriptor for a connection.
const REST: Duration = Duration::from_millis(100);

/// Where the metrics of a host are to be had. Dropped, it is no more.
pub struct MetricsEndpoint {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl PluginHost {
    /// Answers `GET /metrics` at this address with [what is counted](crate#metrics), in Prometheus's text format. There is no
    /// authentication and no encryption: who can reach the address can read the names and figures of all plugins, so it had
    /// better be one of this machine (`127.0.0.1:9464`). Port 0 takes any that is free.
    ///
    /// # Errors
    ///
    /// When the address is taken, or the thread does not start.
    pub fn serve_metrics(&self, listen: SocketAddr) -> io::Result<MetricsEndpoint> {
        let listener = TcpListener::bind(listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let (stop, stopped) = oneshot::channel();
        // What the host has ends with the host, whoever still listens.
        let plugins = Arc::downgrade(&self.plugins);
        let source = Arc::new(Source { host: self.context.config.name.clone(), plugins, last: Mutex::default() });
        let listener = {
            let _context = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let run = move || {
            runtime.spawn(serve(listener, source));
            // An error is the end of the one who would say so.
            let _ = runtime.block_on(stopped);
        };
        let thread = std::thread::Builder::new().name(THREAD_NAME.to_owned()).spawn(run)?;
        tracing::info!(%address, "metrics are to be had");
        Ok(MetricsEndpoint { address, stop: Some(stop), thread: Some(thread) })
    }
}

impl MetricsEndpoint {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for MetricsEndpoint {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            // It does not panic: a task that does is caught.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for MetricsEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MetricsEndpoint").field(&self.address).finish()
    }
}

/// Where the text comes from.
struct Source {
    host: String,
    plugins: Weak<Mutex<Plugins>>,
    last: Mutex<Option<(Instant, Arc<str>)>>,
}

impl Source {
    /// The text, if there still is a host.
    fn text(&self) -> Option<Arc<str>> {
        let plugins = self.plugins.upgrade()?;
        let mut last = self.last.lock();
        match &*last {
            Some((at, text)) if at.elapsed() < FRESH => Some(Arc::clone(text)),
            _ => {
                let text: Arc<str> = text::render(&snapshot_of(&self.host, &plugins)).into();
                *last = Some((Instant::now(), Arc::clone(&text)));
                Some(text)
            }
        }
    }
}

async fn serve(listener: tokio::net::TcpListener, source: Arc<Source>) {
    let mut connections: VecDeque<AbortHandle> = VecDeque::new();
    let mut complaint = Complaint::default();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                if let Some(times) = complaint.failed(Instant::now()) {
                    tracing::warn!(%error, times, "nobody can ask for metrics at present");
                }
                sleep(REST).await;
                continue;
            }
        };
        connections.retain(|connection| !connection.is_finished());
        if connections.len() >= CONNECTIONS_MAX
            && let Some(oldest) = connections.pop_front()
        {
            oldest.abort();
        }
        connections.push_back(tokio::spawn(connection(stream, Arc::clone(&source))).abort_handle());
    }
}

async fn connection(stream: TcpStream, source: Arc<Source>) {
    let answer = service_fn(move |request| {
        let response = answer(&request, &source);
        async { Ok::<_, Infallible>(response) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).keep_alive(false);
    http.max_buf_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX);
    // What is wrong with a client is its own affair.
    let _ = timeout(CONNECTION_TIME, http.serve_connection(TokioIo::new(stream), answer)).await;
}

fn answer(request: &Request<Incoming>, source: &Source) -> Response<String> {
    let mut response = Response::new(String::new());
    if request.uri().path() != "/metrics" {
        *response.status_mut() = StatusCode::NOT_FOUND;
    } else if !matches!(*request.method(), Method::GET | Method::HEAD) {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    } else if let Some(text) = source.text() {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(text::CONTENT_TYPE));
        response.body_mut().push_str(&text);
    } else {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}
