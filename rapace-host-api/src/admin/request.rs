//! What an operator wants: a call of a plugin's method, or the removal of what it has stored.

use rapace_macros::message;

/// A call, with JSON that the plugin's registry says the form of.
#[message(crate = "rapace_service")]
#[derive(Default, Eq)]
pub struct CallRequest {
    /// The plugin's name.
    pub plugin: String,
    /// The method's full name, such as `demo.Kv.get`, or its own, if only one service has it.
    pub method: String,
    /// Its arguments, as JSON: one as it is, several as an object with their names. Nothing is `null`.
    pub arguments: String,
    /// The items of the stream that the method takes, if it takes one, each as JSON.
    pub items: Vec<String>,
    /// Of the items that the method answers with, so many at most.
    pub items_max: u32,
    /// How long it may take; else the host's default for a call.
    pub timeout_ms: Option<u64>,
}

/// What a plugin has answered.
#[message(crate = "rapace_service")]
#[derive(Default, Eq)]
pub struct CallReply {
    /// The result, as JSON: a method's own `Result` is `{"Ok": ..}` or `{"Err": ..}`. `null` of a method that answers with a
    /// stream.
    pub result: String,
    /// The items, each as JSON.
    pub items: Vec<String>,
    /// There would be more items than were wanted, or than fit a reply.
    pub is_cut: bool,
}

impl CallRequest {
    /// A call of a method without streams.
    pub fn new(plugin: impl Into<String>, method: impl Into<String>, arguments: impl Into<String>) -> Self {
        let (plugin, method, arguments) = (plugin.into(), method.into(), arguments.into());
        Self { plugin, method, arguments, ..Self::default() }
    }
}

/// A removal of what a plugin has stored of its own.
#[message(crate = "rapace_service")]
#[derive(Default, Eq)]
pub struct RemoveRequest {
    /// The plugin's name.
    pub plugin: String,
    /// Also if the plugin runs.
    pub even_if_running: bool,
}

impl RemoveRequest {
    /// For a plugin that does not run.
    pub fn new(plugin: impl Into<String>) -> Self {
        Self { plugin: plugin.into(), even_if_running: false }
    }
}
