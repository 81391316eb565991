//! An injector in a session.

use std::process::ExitStatus;
use std::sync::Arc;

use rapace_core::Side;
use rapace_registry::{MethodId, Registry};
use rustix::process::{Signal, getpid, kill_process, pidfd_send_signal};

use super::fate::Fate;
use super::injector::FaultInjector;
use super::plan::{Asked, FaultSide};
use crate::config::Config;
use crate::hello::PeerInfo;
use crate::shared::Shared;

/// An injector, and the services by which methods have names.
#[derive(Debug)]
pub(crate) struct Armed {
    injector: FaultInjector,
    own: Registry,
    peer: Arc<PeerInfo>,
}

impl Armed {
    /// The injector of a configuration, if it has one.
    pub(crate) fn new(config: &Config, peer: &Arc<PeerInfo>) -> Option<Self> {
        let injector = config.fault_injection.injector.clone()?;
        let armed = Self { injector, own: config.registry.clone(), peer: Arc::clone(peer) };
        for name in armed.injector.plan().rules().iter().filter_map(|rule| rule.name()) {
            let known = name.rsplit_once('.').is_some_and(|(service, method)| {
                armed.registries().any(|registry| registry.method_by_name(service, method).is_some())
            });
            if !known {
                let peer = &armed.peer.name;
                armed.injector.warn(format_args!("no service that is shared with {peer} has a method {name}"));
            }
        }
        Some(armed)
    }

    /// What becomes of a call.
    pub(super) fn decide(&self, side: FaultSide, method: u32) -> Option<Fate> {
        self.injector.decide(Asked { side, peer: &self.peer.name, method, name: self.name(method) })
    }

    fn name(&self, method: u32) -> Option<String> {
        let id = MethodId::new(method)?;
        let (service, method) = self.registries().find_map(|registry| registry.method(id))?;
        Some(format!("{}.{}", service.name(), method.name()))
    }

    fn registries(&self) -> impl Iterator<Item = &Registry> {
        [&self.own, &self.peer.registry].into_iter()
    }
}

/// Kills the plugin, and with it the session. A host that has started no process loses the session as if it had.
pub(super) fn kill_plugin(shared: &Shared) {
    let exit = kill_process_of(shared);
    let mut state = shared.state();
    state.peer_gone(exit);
    shared.leave(state);
}

/// Kills the plugin, this process or that which this side has started, without waiting for its end; says whether there is one.
pub(super) fn send_kill(shared: &Shared) -> bool {
    if shared.side() == Side::B {
        // The process has no say in this signal, so there is no way past it.
        let _ = kill_process(getpid(), Signal::KILL);
        loop {
            std::thread::park();
        }
    }
    let pidfd = shared.pidfd();
    // An error means that it has ended already.
    let _ = pidfd.map(|pidfd| pidfd_send_signal(pidfd, Signal::KILL));
    pidfd.is_some()
}

/// The same, and waits for its end.
fn kill_process_of(shared: &Shared) -> Option<ExitStatus> {
    send_kill(shared);
    shared.process().and_then(|process| process.lock().kill())
}
