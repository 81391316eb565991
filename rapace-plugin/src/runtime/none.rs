//! No runtime: what stands for one without the feature `tokio`.

use std::time::Duration;

use rapace_session::{PeerB, Session};

use crate::serving::MainError;

#[derive(Default)]
pub(crate) struct Wanted(());

pub(crate) struct Keeper(Context);

#[derive(Clone, Debug, Default)]
pub(crate) struct Context;

impl Context {
    pub(crate) fn enter(&self) -> impl Sized {}

    pub(crate) fn take_handlers(&self, _: &Session<PeerB>) {}
}

impl Wanted {
    pub(crate) fn start(self, _: &str, _: Duration) -> Result<Keeper, MainError> {
        Ok(Keeper(Context))
    }
}

impl Keeper {
    pub(crate) fn context(&self) -> &Context {
        &self.0
    }

    pub(crate) fn end(self) {}
}
