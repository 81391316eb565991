//! Each kind of method, and each kind of client.
//!
//! ```text
//! $ cargo run --example calculator
//! unary:          2 + 3 = 5
//! to the plugin:  the sum of 1 to 100 is 5050
//! from it:        primes up to 20: 2 3 5 7 11 13 17 19
//! both ways:      means so far of 2, 4, 9: 2 3 5
//! async:          2 + 3 = 5, and 30 + 40 = 70 at the same time
//! async:          the sum of 1 to 100 is 5050
//! async:          the first primes above 1000: 1009 1013 1019
//! async:          means so far of 2, 4, 9: 2 3 5
//! ```
//!
//! This one program is the host and, started again with `--plugin`, its plugin. In a program of its own the plugin
//! would look the same; the trait is then in a crate that both use.

use std::error::Error;
use std::process::ExitCode;

use futures_util::stream::{self, StreamExt};
use rapace::prelude::*;

/// What the plugin does and the host calls.
#[rapace::service(name = "demo.Calculator", version = "1.0", provider = "plugin")]
trait Calculator {
    /// One request, one reply.
    async fn add(&self, a: i64, b: i64) -> i64;
    /// A stream of the caller's, one reply.
    async fn sum(&self, numbers: Incoming<i64>) -> i64;
    /// One request, a stream of the callee's. It may be endless: items are made as the caller takes them.
    fn primes(&self, from: u64, to: u64) -> impl Stream<Item = u64>;
    /// A stream each way: the mean of the numbers so far.
    fn means(&self, numbers: Incoming<f64>) -> impl Stream<Item = f64>;
}

struct Arithmetic;

impl Calculator for Arithmetic {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a.wrapping_add(b)
    }

    async fn sum(&self, mut numbers: Incoming<i64>) -> i64 {
        let mut sum = 0_i64;
        // An error is the last item; the call fails then, whatever is answered.
        while let Some(Ok(number)) = numbers.next().await {
            sum = sum.wrapping_add(number);
        }
        sum
    }

    fn primes(&self, from: u64, to: u64) -> impl Stream<Item = u64> {
        stream::iter((from..=to).filter(|number| is_prime(*number)))
    }

    fn means(&self, numbers: Incoming<f64>) -> impl Stream<Item = f64> {
        stream::unfold((numbers, 0.0, 0.0), |(mut numbers, sum, count)| async move {
            let (sum, count) = (sum + numbers.next().await?.ok()?, count + 1.0);
            Some((sum / count, (numbers, sum, count)))
        })
    }
}

fn is_prime(number: u64) -> bool {
    number > 1 && (2..).take_while(|divisor| divisor * divisor <= number).all(|divisor| !number.is_multiple_of(divisor))
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    if std::env::args().nth(1).as_deref() == Some("--plugin") {
        return Ok(rapace::plugin::run(plugin));
    }
    host()?;
    Ok(ExitCode::SUCCESS)
}

fn plugin() -> Result<(), Box<dyn Error>> {
    let services = Services::new().add(CalculatorServer::new(Arithmetic));
    let config = Config { registry: services.registry()?, ..Config::new("calculator", "1.0.0") };
    Ok(Plugin::attach(config, "cargo run --example calculator", services)?.serve()?)
}

fn host() -> Result<(), Box<dyn Error>> {
    let registry = Services::new().calls::<CalculatorClient>().registry()?;
    let host = PluginHost::builder(Config { registry, ..Config::new("calculator-host", "1.0.0") }).build()?;
    let plugin = host.load(PluginSpec::new("calculator", std::env::current_exe()?).arg("--plugin"))?;
    let client = CalculatorClient::new(&plugin);
    blocking(&client.blocking())?;
    // Any executor will do. This one is the thread itself, which looks after the plugin meanwhile.
    plugin.as_caller().block_on(asynchronous(&client))??;
    host.shutdown();
    Ok(())
}

/// For threads that block: streams are iterators.
fn blocking(calculator: &CalculatorBlockingClient) -> Result<(), CallError> {
    println!("unary:          2 + 3 = {}", calculator.add(2, 3)?);
    println!("to the plugin:  the sum of 1 to 100 is {}", calculator.sum(1..=100)?);
    let primes = calculator.primes(1, 20)?.collect::<Result<Vec<_>, _>>()?;
    println!("from it:        primes up to 20: {}", spaced(&primes));
    let means = calculator.means([2.0, 4.0, 9.0])?.collect::<Result<Vec<_>, _>>()?;
    println!("both ways:      means so far of 2, 4, 9: {}", spaced(&means));
    Ok(())
}

/// For tasks: streams are streams.
async fn asynchronous(calculator: &CalculatorClient) -> Result<(), CallError> {
    let (five, seventy) = futures_util::future::try_join(calculator.add(2, 3), calculator.add(30, 40)).await?;
    println!("async:          2 + 3 = {five}, and 30 + 40 = {seventy} at the same time");
    println!("async:          the sum of 1 to 100 is {}", calculator.sum(stream::iter(1..=100)).await?);
    // Dropped when three are there, the stream is cancelled.
    let primes: Vec<_> = calculator.primes(1000, u64::MAX).await?.take(3).collect().await;
    let primes = primes.into_iter().collect::<Result<Vec<_>, _>>()?;
    println!("async:          the first primes above 1000: {}", spaced(&primes));
    let mut means = Vec::new();
    let mut incoming = calculator.means(stream::iter([2.0, 4.0, 9.0])).await?;
    while let Some(mean) = incoming.next().await {
        means.push(mean?);
    }
    println!("async:          means so far of 2, 4, 9: {}", spaced(&means));
    Ok(())
}

fn spaced(numbers: &[impl ToString]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
