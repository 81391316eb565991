//! A plugin with tokio: a server in a background task, a stream fed by it, timers in handlers.
//!
//! ```text
//! $ cargo run --example tokio
//! the door is open
//! at the door: good morning
//! at the door: is anybody there?
//! nobody knocks within 50ms
//! at the door: good bye
//! 3 lines in all, and the door is closed
//! ```
//!
//! This one program is the host and, started again with `--plugin`, its plugin. The plugin's handlers and tasks use tokio as
//! in any program that has a runtime: `tokio()` gives it one. Its calls are served as those of any other plugin.

use std::error::Error;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::stream;
use rapace::prelude::*;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;

/// A door at which other programs knock by TCP.
#[rapace::service(name = "demo.Door", version = "1.0", provider = "plugin")]
trait Door {
    async fn address(&self) -> String;
    /// The next line that somebody says there, unless nobody does for so long.
    async fn next(&self, within_millis: u64) -> Option<String>;
    /// All lines, as they come.
    fn lines(&self) -> impl Stream<Item = String>;
    /// How many have come so far.
    async fn count(&self) -> u32;
}

struct Porter {
    address: SocketAddr,
    lines: Arc<Mutex<mpsc::Receiver<String>>>,
    count: Arc<AtomicU32>,
}

impl Door for Porter {
    async fn address(&self) -> String {
        self.address.to_string()
    }

    async fn next(&self, within_millis: u64) -> Option<String> {
        let next = async { self.lines.lock().await.recv().await };
        timeout(Duration::from_millis(within_millis), next).await.ok().flatten()
    }

    fn lines(&self) -> impl Stream<Item = String> {
        stream::unfold(Arc::clone(&self.lines), async |lines| {
            let line = lines.lock().await.recv().await?;
            Some((line, lines))
        })
    }

    async fn count(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }
}

/// Takes in whoever knocks, until the plugin is to stop.
async fn keep_open(listener: TcpListener, heard: mpsc::Sender<String>, count: Arc<AtomicU32>) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (visitor, _) = listener.accept().await?;
        let (heard, count) = (heard.clone(), Arc::clone(&count));
        tokio::spawn(async move {
            let mut lines = BufReader::new(visitor).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                count.fetch_add(1, Ordering::Relaxed);
                if heard.send(line).await.is_err() {
                    return;
                }
            }
        });
    }
}

fn plugin() -> Result<ExitCode, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (heard, lines) = mpsc::channel(16);
    let count = Arc::default();
    let porter =
        Porter { address: listener.local_addr()?, lines: Arc::new(Mutex::new(lines)), count: Arc::clone(&count) };
    let main = PluginMain::new("door", env!("CARGO_PKG_VERSION"))
        .serve(DoorServer::new(porter))
        .background(|ctx| async move {
            tokio::select! {
                () = ctx.stopped() => {}
                end = keep_open(listener, heard, count) => eprintln!("the door has closed by itself: {end:?}"),
            }
        })
        .tokio();
    Ok(main.run_with([]))
}

fn host() -> Result<(), Box<dyn Error>> {
    let host = PluginHost::builder(Config::new("tokio", env!("CARGO_PKG_VERSION"))).build()?;
    let plugin = host.load(PluginSpec::new("door", std::env::current_exe()?).arg("--plugin"))?;
    let door = DoorClient::new(&plugin).blocking();
    let mut visitor = TcpStream::connect(door.address()?)?;
    println!("the door is open");

    visitor.write_all(b"good morning\nis anybody there?\n")?;
    for line in door.lines()?.take(2) {
        println!("at the door: {}", line?);
    }
    if door.next(50)?.is_none() {
        println!("nobody knocks within 50ms");
    }
    visitor.write_all(b"good bye\n")?;
    println!("at the door: {}", door.next(60_000)?.ok_or("nothing was heard")?);

    let count = door.count()?;
    host.shutdown();
    println!("{count} lines in all, and the door is closed");
    Ok(())
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    if std::env::args().nth(1).as_deref() == Some("--plugin") {
        return plugin();
    }
    host()?;
    Ok(ExitCode::SUCCESS)
}
