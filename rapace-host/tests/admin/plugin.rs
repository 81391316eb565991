//! The plugins of the tests.

use std::future::pending;
use std::pin::Pin;
use std::process::ExitCode;
use std::task::{Context, Poll};

use rapace_macros::service;
use rapace_plugin::PluginMain;
use rapace_service::{Incoming, Stream};

pub(crate) const ROLE: &str = "RAPACE_TEST_ROLE";
/// What the plugin has been started with, for reloads that change it.
pub(crate) const VERSION: &str = "RAPACE_TEST_VERSION";

/// What a plugin of these tests does.
#[service(name = "test.Desk", version = "1.0", provider = "plugin", crate = "rapace_service")]
pub(crate) trait Desk {
    /// The same text.
    async fn echo(&self, text: &str) -> String;
    async fn divide(&self, dividend: i64, divisor: i64) -> Result<i64, String>;
    /// Never answers.
    async fn wait(&self);
    /// Ends the process.
    async fn exit(&self, code: i32);
    /// Prints lines, numbered, to either output in turn.
    async fn print(&self, text: &str, lines: u32);
    async fn version(&self) -> String;
    fn count(&self, to: u32) -> impl Stream<Item = u32>;
    async fn sum(&self, numbers: Incoming<u32>) -> u64;
    fn double(&self, numbers: Incoming<u32>) -> impl Stream<Item = u64>;
}

struct Impl;

impl Desk for Impl {
    async fn echo(&self, text: &str) -> String {
        text.to_owned()
    }

    async fn divide(&self, dividend: i64, divisor: i64) -> Result<i64, String> {
        dividend.checked_div(divisor).ok_or_else(|| format!("{dividend} by {divisor}"))
    }

    async fn wait(&self) {
        pending().await
    }

    async fn exit(&self, code: i32) {
        eprintln!("desk: told to exit with {code}");
        std::process::exit(code);
    }

    async fn print(&self, text: &str, lines: u32) {
        for line in 0..lines {
            if line % 2 == 0 {
                println!("desk: {text} {line}");
            } else {
                eprintln!("desk: {text} {line}");
            }
        }
    }

    async fn version(&self) -> String {
        std::env::var(VERSION).unwrap_or_default()
    }

    fn count(&self, to: u32) -> impl Stream<Item = u32> {
        Iter(0..to)
    }

    async fn sum(&self, mut numbers: Incoming<u32>) -> u64 {
        let mut sum = 0;
        while let Some(Ok(number)) = numbers.next().await {
            sum += u64::from(number);
        }
        sum
    }

    fn double(&self, numbers: Incoming<u32>) -> impl Stream<Item = u64> {
        Double(numbers)
    }
}

struct Iter<I>(I);

impl<I: Iterator + Unpin> Stream for Iter<I> {
    type Item = I::Item;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<I::Item>> {
        Poll::Ready(self.0.next())
    }
}

struct Double(Incoming<u32>);

impl Stream for Double {
    type Item = u64;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<u64>> {
        Pin::new(&mut self.0).poll_next(cx).map(|number| Some(u64::from(number?.ok()?) * 2))
    }
}

/// The plugin itself, in the processes that the tests start; nothing in the test program.
#[test]
fn plugin_process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    if role == "stranger" {
        super::strangers::stranger();
    }
    let code = PluginMain::new("desk", "1.0.0").serve(DeskServer::new(Impl)).run_with([]);
    std::process::exit(if code == ExitCode::SUCCESS { 0 } else { 1 });
}
