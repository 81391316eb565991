//! What a host offers its plugins: implementations of the services in `rapace-host-api`.

#[cfg(feature = "storage")]
pub(crate) mod storage;
