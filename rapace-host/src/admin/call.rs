//! A call of a plugin's method by an operator: JSON both ways, within bounds.

use std::time::Duration;

use rapace_host_api::admin::{AdminError, CallReply, CallRequest};
use rapace_service::dynamic::{DynamicClient, DynamicError};
use rapace_session::{CallError, CallOptions, Code, Status};
use serde_json::Value;
use tokio::time::timeout;

use crate::plugin::PluginHandle;

/// Bytes of all the JSON in a reply.
const REPLY_BYTES_MAX: usize = 4 << 20;
/// Items in a reply.
const ITEMS_MAX: usize = 1000;
/// The longest that a call may take.
const TIMEOUT_MAX: Duration = Duration::from_secs(3600);

pub(super) async fn call(plugin: &PluginHandle, request: CallRequest) -> Result<CallReply, AdminError> {
    let not_running = || AdminError::NotRunning { plugin: plugin.name().to_owned(), state: plugin.state().to_string() };
    // The session is not kept: with it, its process would be.
    let registry = plugin.session().ok_or_else(not_running)?.peer().registry.clone();
    let patience = request.timeout_ms.map_or(plugin.0.context.config.timeouts.call, Duration::from_millis);
    let patience = patience.min(TIMEOUT_MAX);
    let client = DynamicClient::new(plugin, registry).with_options(CallOptions::new().deadline(patience));
    let arguments = value(&request.arguments, "the arguments")?;
    let (_, method) = client.method(&request.method).map_err(told)?;
    let kind = method.kind();
    if kind.streams_arguments() || kind.streams_results() {
        let call = stream(&client, &request, &arguments, kind.streams_results());
        let over = |_| told(CallError::DeadlineExceeded { waited: patience }.into());
        return timeout(patience, call).await.map_err(over)?;
    }
    if !request.items.is_empty() {
        return Err(AdminError::WrongArgument { problem: format!("{} takes no items", request.method) });
    }
    let result = client.call(&request.method, &arguments).await.map_err(told)?;
    Ok(CallReply { result: text(&result, REPLY_BYTES_MAX)?, ..CallReply::default() })
}

/// The items of the operator's first, and then those of the plugin's.
async fn stream(
    client: &DynamicClient,
    request: &CallRequest,
    arguments: &Value,
    streams_results: bool,
) -> Result<CallReply, AdminError> {
    let items = request.items.iter().map(|item| value(item, "an item")).collect::<Result<Vec<_>, _>>()?;
    let mut call = client.open(&request.method, arguments).await.map_err(told)?;
    for item in &items {
        match call.send(item).await {
            // It has ended: how, is said below.
            Err(DynamicError::Call(_) | DynamicError::Ended { .. }) => break,
            sent => sent.map_err(told)?,
        }
    }
    call.finish();
    if !streams_results {
        let result = call.reply().await.map_err(told)?;
        return Ok(CallReply { result: text(&result, REPLY_BYTES_MAX)?, ..CallReply::default() });
    }
    let most = usize::try_from(request.items_max).unwrap_or(ITEMS_MAX).min(ITEMS_MAX);
    let mut reply = CallReply { result: Value::Null.to_string(), ..CallReply::default() };
    let mut left = REPLY_BYTES_MAX;
    while let Some(item) = call.next().await {
        let item = item.map_err(told)?;
        let item = text(&item, left);
        match item {
            Ok(item) if reply.items.len() < most => {
                left -= item.len();
                reply.items.push(item);
            }
            // Dropped, the call is cancelled.
            _ => {
                reply.is_cut = true;
                break;
            }
        }
    }
    Ok(reply)
}

/// JSON of a bounded depth.
fn value(text: &str, what: &str) -> Result<Value, AdminError> {
    let wrong = |error| AdminError::WrongArgument { problem: format!("{what}: not JSON: {error}") };
    serde_json::from_str(text).map_err(wrong)
}

fn text(value: &Value, bytes_max: usize) -> Result<String, AdminError> {
    let text = value.to_string();
    if text.len() > bytes_max {
        let message = format!("the reply has {} bytes as JSON, and may have {bytes_max}", text.len());
        return Err(told(CallError::Status(Status::new(Code::ResourceExhausted, message)).into()));
    }
    Ok(text)
}

fn told(error: DynamicError) -> AdminError {
    match error {
        DynamicError::Call(CallError::Status(Status { code, message, .. })) => {
            AdminError::CallFailed { code: code.to_string(), message }
        }
        DynamicError::Call(error) => {
            AdminError::CallFailed { code: error.code().to_string(), message: error.to_string() }
        }
        error @ (DynamicError::UnknownMethod { .. } | DynamicError::Ambiguous { .. }) => {
            AdminError::UnknownMethod { problem: error.to_string() }
        }
        error => AdminError::WrongArgument { problem: error.to_string() },
    }
}
