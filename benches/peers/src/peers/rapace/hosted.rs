//! Plugins of one `PluginHost`.

use std::path::Path;
use std::sync::OnceLock;

use rapace::WaitStrategy;
use rapace::host::{PluginHandle, PluginHost, PluginSpec};

use super::service::{RaceBlockingClient, RaceClient};
use super::{HOST, NAME, client_config, typed};
use crate::Error;
use crate::args::SERVE;
use crate::peer::Client;
use crate::work::Work;

static PLUGINS: OnceLock<PluginHost> = OnceLock::new();

struct Hosted {
    client: RaceBlockingClient,
    plugin: PluginHandle,
}

/// Loads another plugin into the host of this process.
pub(super) fn load(place: &Path) -> Result<impl Client + use<>, Error> {
    if PLUGINS.get().is_none() {
        // A process has one thread that starts plugins.
        let _ = PLUGINS.set(PluginHost::builder(client_config(WaitStrategy::default())?).build()?);
    }
    let host = PLUGINS.get().ok_or("no host")?;
    let name = place.file_name().ok_or("no name")?.to_string_lossy();
    let spec = PluginSpec::new(&format!("race-{name}"), std::env::current_exe()?);
    let plugin = host.load(spec.arg(SERVE).arg(NAME).arg(HOST).arg(place))?;
    Ok(Hosted { client: RaceClient::new(&plugin).blocking(), plugin })
}

impl Client for Hosted {
    fn server_id(&self) -> Option<u32> {
        self.plugin.process_id()
    }

    fn sequential(&mut self, work: &mut Work) -> Result<(), Error> {
        typed::sequential(&self.client, work)
    }

    fn one_way(&mut self, work: &mut Work) -> Result<bool, Error> {
        typed::one_way(&self.client, work)
    }
}

impl Drop for Hosted {
    fn drop(&mut self) {
        self.plugin.kill();
    }
}
