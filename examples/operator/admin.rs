//! What an operator does, who could be in any other process of this user.

use std::error::Error;
use std::path::Path;

use rapace::host::Permissions;
use rapace::host_api::admin::{AdminBlockingClient, AdminClient, CallRequest, LogItem, LogQuery};
use rapace::prelude::*;

/// Connects to the host, looks around, and restarts a plugin.
pub(crate) fn visit(socket: &Path) -> Result<(), Box<dyn Error>> {
    let session = Session::connect(socket, Config::new("operator", "1.0.0"), NoService)?;
    let admin = AdminClient::new(&session).blocking();

    println!("  list:");
    for plugin in admin.list()? {
        let in_flight: u64 = plugin.instances.iter().map(|instance| instance.calls_in_flight).sum();
        println!("    {:<8} {}, {}, {in_flight} calls in flight", plugin.name, plugin.state, plugin.health);
    }

    println!("  describe notes:");
    let notes = admin.about("notes")?;
    let demo = notes.services.iter().find(|service| service.name == "demo.Notes").ok_or("it does not serve notes")?;
    println!("    serves {} {}:", demo.name, demo.version);
    demo.methods.iter().for_each(|method| println!("      {}", method.signature));
    if let Some(permissions) = notes.permissions {
        let permissions: Permissions = serde_json::from_str(&permissions)?;
        println!("    may call {}, publish {}", permissions.services.join(", "), permissions.publish.join(", "));
    }

    println!("  stats:");
    for plugin in admin.stats(None)? {
        print!("    {:<8} {} restarts", plugin.plugin, plugin.restarts);
        plugin.overruns.iter().for_each(|(limit, times)| print!(", {times} times over {limit}"));
        println!();
    }

    println!("  logs of chatter:");
    for item in admin.logs(LogQuery { plugin: Some("chatter".to_owned()), last: 10, follow: false })? {
        match item?? {
            LogItem::Line(line) => println!("    {line}"),
            LogItem::Missed { lines, .. } => println!("    {lines} lines are missing"),
        }
    }

    println!("  calls with JSON:");
    call(&admin, "keep", r#"{"name": "bread", "text": "rye"}"#)?;
    call(&admin, "keep", r#"{"name": "everything", "text": "more than there is room for in the storage"}"#)?;
    call(&admin, "names", "null")?;
    admin.restart("notes")?;
    println!("  notes is restarted");
    call(&admin, "names", "null")
}

fn call(admin: &AdminBlockingClient, method: &str, arguments: &str) -> Result<(), Box<dyn Error>> {
    let reply = admin.call(CallRequest::new("notes", method, arguments))?;
    println!("    {method} {arguments}\n      {}", reply.result);
    Ok(())
}
