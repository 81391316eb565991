//! Calls with JSON by what the plugin says of itself: this host knows none of the plugin's types.
//!
//! ```text
//! $ cargo run --example dynamic
//! demo.Store 1.0, of the store
//!   ServerStreaming names() -> stream String
//!   Unary put(Item) -> Result<u32, StoreError>
//!   ClientStreaming total(stream u32) -> u64
//!   Unary find(name: String, at_least: u32) -> Option<Item>
//!
//! Calls:
//!   put {"count":12,"name":"spoon","size":"Small"}
//!     = {"Ok":12}
//!   put {"count":1,"name":"table","size":{"Custom":{"height":0.75,"width":1.5}}}
//!     = {"Ok":1}
//!   demo.Store.put {"count":99,"name":"spoon"}
//!     = {"Err":{"Full":{"bound":100}}}
//!   find {"at_least":1,"name":"table"}
//!     = {"count":1,"name":"table","size":{"Custom":{"height":0.75,"width":1.5}}}
//!
//! Wrong ones, of which none is sent:
//!   put {"count":"three","name":"fork"}
//!     error: demo.Store.put: argument: $.count: expected u32, found string
//!   put {"cuont":3,"name":"fork"}
//!     error: demo.Store.put: argument: $: unknown field `cuont`, did you mean `count`?
//!   put {"count":3,"name":"fork","size":"Huge"}
//!     error: demo.Store.put: argument: $.size: unknown variant `Huge`, there are Small, Custom
//!   find {"at_least":-1,"name":"fork"}
//!     error: demo.Store.find: argument: $.at_least: expected u32, found -1
//!   sell null
//!     error: there is no method "sell" in the registry
//!
//! Streams:
//!   names: "spoon"
//!   names: "table"
//!   total of 1, 2 and 3: 6
//! ```
//!
//! This one program is the host and, started again with `--plugin`, its plugin.

use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use futures_util::stream;
use rapace::dynamic::DynamicClient;
use rapace::prelude::*;
use serde_json::{Value, json};

/// The plugin. Nothing of it is used by the host.
mod store {
    use super::*;

    #[rapace::message]
    struct Item {
        name: String,
        count: u32,
        size: Option<Size>,
    }

    #[rapace::message]
    enum Size {
        Small,
        Custom { width: f32, height: f32 },
    }

    #[rapace::message]
    enum StoreError {
        Full { bound: u32 },
    }

    #[rapace::service(name = "demo.Store", version = "1.0", provider = "plugin")]
    trait Store {
        /// How many there are now.
        async fn put(&self, item: Item) -> Result<u32, StoreError>;
        async fn find(&self, name: &str, at_least: u32) -> Option<Item>;
        fn names(&self) -> impl Stream<Item = String>;
        async fn total(&self, counts: Incoming<u32>) -> u64;
    }

    const COUNT_MAX: u32 = 100;

    #[derive(Default)]
    struct Shelf(Mutex<BTreeMap<String, Item>>);

    impl Store for Shelf {
        async fn put(&self, item: Item) -> Result<u32, StoreError> {
            let mut items = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let count = items.get(&item.name).map_or(0, |known| known.count).saturating_add(item.count);
            if count > COUNT_MAX {
                return Err(StoreError::Full { bound: COUNT_MAX });
            }
            items.insert(item.name.clone(), Item { count, ..item });
            Ok(count)
        }

        async fn find(&self, name: &str, at_least: u32) -> Option<Item> {
            let items = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            items.get(name).filter(|item| item.count >= at_least).cloned()
        }

        fn names(&self) -> impl Stream<Item = String> {
            let items = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            stream::iter(items.keys().cloned().collect::<Vec<_>>())
        }

        async fn total(&self, mut counts: Incoming<u32>) -> u64 {
            let mut total = 0;
            while let Some(Ok(count)) = counts.next().await {
                total += u64::from(count);
            }
            total
        }
    }

    pub(super) fn plugin() -> Result<(), Box<dyn Error>> {
        let services = Services::new().add(StoreServer::new(Shelf::default()));
        let config = Config { registry: services.registry()?, ..Config::new("store", "1.0.0") };
        Ok(Plugin::attach(config, "cargo run --example dynamic", services)?.serve()?)
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    if std::env::args().nth(1).as_deref() == Some("--plugin") {
        return Ok(rapace::plugin::run(store::plugin));
    }
    host()?;
    Ok(ExitCode::SUCCESS)
}

fn host() -> Result<(), Box<dyn Error>> {
    let host = PluginHost::builder(Config::new("dynamic", "1.0.0")).build()?;
    let plugin = host.load(PluginSpec::new("store", std::env::current_exe()?).arg("--plugin"))?;
    let registry = plugin.session().ok_or("the plugin does not run")?.peer().registry.clone();
    let client = DynamicClient::new(&plugin, registry);

    for service in client.services() {
        println!("{} {}, of the {}", service.name(), service.version(), plugin.name());
        for method in service.methods() {
            println!("  {} {}", method.kind(), method.signature());
        }
    }

    println!("\nCalls:");
    call(&client, "put", &json!({ "name": "spoon", "count": 12, "size": "Small" }));
    let size = json!({ "Custom": { "width": 1.5, "height": 0.75 } });
    call(&client, "put", &json!({ "name": "table", "count": 1, "size": size }));
    call(&client, "demo.Store.put", &json!({ "name": "spoon", "count": 99 }));
    call(&client, "find", &json!({ "name": "table", "at_least": 1 }));

    println!("\nWrong ones, of which none is sent:");
    call(&client, "put", &json!({ "name": "fork", "count": "three" }));
    call(&client, "put", &json!({ "name": "fork", "cuont": 3 }));
    call(&client, "put", &json!({ "name": "fork", "count": 3, "size": "Huge" }));
    call(&client, "find", &json!({ "name": "fork", "at_least": -1 }));
    call(&client, "sell", &Value::Null);

    println!("\nStreams:");
    let mut names = client.open_blocking("names", &Value::Null)?;
    while let Some(name) = names.next_blocking() {
        println!("  names: {}", name?);
    }
    let mut total = client.open_blocking("total", &Value::Null)?;
    for count in [1, 2, 3] {
        total.send_blocking(&json!(count))?;
    }
    println!("  total of 1, 2 and 3: {}", total.reply_blocking()?);
    host.shutdown();
    Ok(())
}

fn call(client: &DynamicClient, method: &str, arguments: &Value) {
    match client.call_blocking(method, arguments) {
        Ok(result) => println!("  {method} {arguments}\n    = {result}"),
        Err(error) => println!("  {method} {arguments}\n    error: {error}"),
    }
}
