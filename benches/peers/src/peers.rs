//! The systems that take part: a file each.

mod axum;
mod capnp_rpc;
mod iceoryx2;
mod in_process;
mod ipc_channel;
mod rapace;
mod shmipc;
mod tarpc;
mod tonic;
mod unix_socket;

use crate::peer::Peer;

/// All of them, in the order of the tables.
pub fn all() -> Vec<Box<dyn Peer>> {
    vec![
        Box::new(rapace::Rapace),
        Box::new(iceoryx2::Iceoryx2),
        Box::new(tarpc::Tarpc),
        Box::new(tonic::Tonic),
        Box::new(ipc_channel::IpcChannel),
        Box::new(capnp_rpc::CapnpRpc),
        Box::new(shmipc::Shmipc),
        Box::new(axum::Axum),
        Box::new(unix_socket::UnixSocket),
        Box::new(in_process::InProcess),
    ]
}
