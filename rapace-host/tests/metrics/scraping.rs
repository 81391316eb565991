//! The endpoint of Prometheus: what it answers agrees with the snapshot, and no client harms it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use rapace_host::{CallerSide, PluginHandle};
use rapace_session::{CallOptions, Code};

use super::exposition::Exposition;
use super::plugin::{ECHO, FAIL};
use super::{PATIENCE, builder, eventually, spec};

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The status and the body of an answer; none if the other side hangs up, as it may when it is asked by too many.
fn ask(address: SocketAddr, request: &str) -> Option<(u16, String)> {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).unwrap();
    Some((status.parse().unwrap(), body.to_owned()))
}

fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
}

/// A scrape that is answered.
pub(crate) fn scrape(address: SocketAddr) -> Exposition {
    let (status, body) = get(address, "/metrics").expect("an answer");
    assert_eq!(status, 200);
    Exposition::read(&body)
}

fn call(plugin: &PluginHandle) {
    plugin.call(ECHO, b"seven..", &CallOptions::new()).unwrap();
}

#[test]
fn a_scrape_agrees_with_the_snapshot() {
    let host = builder().build().unwrap();
    let endpoint = host.serve_metrics(ANY_PORT).unwrap();
    let plugins = ["left", "right"].map(|name| host.load(spec(name)).unwrap());
    for plugin in &plugins {
        (0..5).for_each(|_| call(plugin));
        plugin.call(FAIL, &[5], &CallOptions::new()).unwrap_err();
    }
    plugins[1].restart().unwrap();
    // A scrape may be as old as another one of the same moment.
    let scraped = std::cell::RefCell::new(None);
    eventually("the scrape has the restart", || {
        let found = scrape(endpoint.address());
        let restarts = found.value("rapace_plugin_restarts_total", &[("plugin", "right")]);
        *scraped.borrow_mut() = Some(found);
        restarts == 1.0
    });
    let (scraped, snapshot) = (scraped.into_inner().unwrap(), host.snapshot());
    for stats in &snapshot.plugins {
        let plugin = ("plugin", &*stats.plugin);
        assert_eq!(scraped.value("rapace_plugin_state", &[plugin, ("state", "Running")]), 1.0);
        assert_eq!(scraped.value("rapace_plugin_starts_total", &[plugin]), stats.starts as f64);
        let cpu = scraped.value("rapace_plugin_cpu_seconds_total", &[plugin]);
        assert!(cpu <= stats.cpu.unwrap().as_secs_f64(), "{cpu} and then {stats}");
        for name in ["rapace_plugin_memory_bytes", "rapace_plugin_processes_and_threads"] {
            assert!(scraped.value(name, &[plugin]) > 0.0, "{name}");
        }
        assert_eq!(scraped.value("rapace_slots", &[plugin]), stats.room.slots as f64);
        assert!(stats.methods.len() >= 3);
        for method in &stats.methods {
            let labels = [plugin, ("side", method.side.name()), ("method", &*method.method)];
            let with = |label| [&labels[..], &[label]].concat();
            assert_eq!(scraped.value("rapace_calls_total", &with(("code", "Ok"))), method.ok as f64);
            for (code, count) in &method.errors {
                assert_eq!(scraped.value("rapace_calls_total", &with(("code", code))), *count as f64);
            }
            assert_eq!(scraped.value("rapace_request_bytes_total", &labels), method.request_bytes as f64);
            assert_eq!(scraped.value("rapace_reply_bytes_total", &labels), method.reply_bytes as f64);
            assert_eq!(scraped.value("rapace_calls_in_flight", &labels), 0.0);
            let count = scraped.value("rapace_call_duration_seconds_count", &labels);
            assert_eq!(count, method.latency.count() as f64);
            let sum = scraped.value("rapace_call_duration_seconds_sum", &labels);
            assert!((sum - method.latency.total().as_secs_f64()).abs() < 1e-9);
        }
        let echo = stats.method(CallerSide::Host, "test.Plugin.echo").unwrap();
        assert_eq!((echo.ok, echo.request_bytes), (5, 35));
        assert_eq!(stats.method(CallerSide::Host, "test.Plugin.fail").unwrap().failed_with(Code::NotFound), 1);
    }
}

#[test]
fn other_questions_are_answered_with_their_status() {
    let host = builder().build().unwrap();
    let endpoint = host.serve_metrics(ANY_PORT).unwrap();
    assert_eq!(get(endpoint.address(), "/").unwrap().0, 404);
    assert_eq!(get(endpoint.address(), "/metrics/").unwrap().0, 404);
    assert_eq!(get(endpoint.address(), "/metrics?name=any").unwrap().0, 200);
    let post = "POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nabc";
    assert_eq!(ask(endpoint.address(), post).unwrap().0, 405);
    let head = ask(endpoint.address(), "HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert_eq!((head.0, &*head.1), (200, ""));
    assert_eq!(ask(endpoint.address(), "nonsense\r\n\r\n").unwrap().0, 400);
}

#[test]
fn an_endpoint_ends_with_its_handle_and_serves_nothing_without_its_host() {
    let host = builder().build().unwrap();
    // Of an address of its own: no other test takes the port when it is free.
    let endpoint = host.serve_metrics((Ipv4Addr::new(127, 7, 7, 7), 0).into()).unwrap();
    let address = endpoint.address();
    assert!(host.serve_metrics(address).is_err(), "the address is taken");
    drop(host);
    assert_eq!(get(address, "/metrics").unwrap().0, 503);
    drop(endpoint);
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn clients_that_say_half_of_it_are_pushed_out_by_one_that_asks() {
    let host = builder().build().unwrap();
    let endpoint = host.serve_metrics(ANY_PORT).unwrap();
    let plugin = host.load(spec("watched")).unwrap();
    let mut silent: Vec<_> = (0..100).map(|_| connect(endpoint.address())).collect();
    for stream in &mut silent {
        // Those that were pushed out already do not hear it.
        drop(stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: loc"));
    }
    // Who is answered is the newest of all: of those before, a few are left.
    scrape(endpoint.address());
    let hears_nothing = |stream: &TcpStream| {
        stream.set_nonblocking(true).unwrap();
        let found = stream.peek(&mut [0]);
        stream.set_nonblocking(false).unwrap();
        found.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    };
    // They may hear of it behind the one that is answered.
    eventually("they are pushed out", || silent.iter().filter(|stream| hears_nothing(stream)).count() < 8);
    for _ in 0..20 {
        scrape(endpoint.address());
        call(&plugin);
    }
    // The last of them have been given up too, in their own time.
    for mut stream in silent {
        let ended = stream.read_to_end(&mut Vec::new());
        let waits = ended.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
        assert!(!waits, "a client that says nothing is still there");
    }
    scrape(endpoint.address());
}

#[test]
fn a_request_without_end_is_refused() {
    let host = builder().build().unwrap();
    let endpoint = host.serve_metrics(ANY_PORT).unwrap();
    let mut many = connect(endpoint.address());
    many.set_write_timeout(Some(PATIENCE)).unwrap();
    // 1 MiB of headers: the other side hangs up before it has them.
    let sent = many
        .write_all(b"GET /metrics HTTP/1.1\r\n")
        .and_then(|()| (0..1 << 16).try_for_each(|number| write!(many, "X-{number}: 0123456789\r\n")));
    let mut answer = Vec::new();
    let read = many.read_to_end(&mut answer);
    let refused = answer.starts_with(b"HTTP/1.1 431") || answer.starts_with(b"HTTP/1.1 400");
    assert!(sent.is_err() || read.is_err() || refused, "{}", String::from_utf8_lossy(&answer));
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
    let mut long = connect(endpoint.address());
    drop(long.write_all(&[b"GET /".to_vec(), vec![b'x'; 1 << 20]].concat()));
    let mut answer = Vec::new();
    drop(long.read_to_end(&mut answer));
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
    scrape(endpoint.address());
}

/// It asks, and does not read: the answer is dropped with the connection.
#[test]
fn a_client_that_does_not_read_holds_nobody_up() {
    let host = builder().build().unwrap();
    let endpoint = host.serve_metrics(ANY_PORT).unwrap();
    let _plugins: Vec<_> = (0..3).map(|number| host.load(spec(&format!("p{number}"))).unwrap()).collect();
    let lazy: Vec<_> = (0..50)
        .map(|_| {
            let mut stream = connect(endpoint.address());
            drop(stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"));
            stream
        })
        .collect();
    for _ in 0..5 {
        scrape(endpoint.address());
    }
    drop(lazy);
    scrape(endpoint.address());
}
