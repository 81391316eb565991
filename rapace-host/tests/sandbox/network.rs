//! Sockets.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use rapace_host::{Mechanism, Permissions, Protection, SyscallProfile};

use crate::{Directory, EACCES, EPERM, confined, does, host, report, trusted};

#[test]
fn sockets_are_refused_without_the_network_and_work_with_it() {
    let directory = Directory::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let _unix = UnixListener::bind(directory.at("socket")).unwrap();
    let connect = format!("connect {}", listener.local_addr().unwrap().port());
    let unix = directory.action("unix", &["socket"]);
    let actions = [&*connect, "listen", "udp"];
    let host = host();
    let network = Permissions { network: true, ..Permissions::default() };
    for spec in [trusted(), confined(network.clone())] {
        let plugin = host.load(spec).unwrap();
        for action in actions {
            assert_eq!(does(&plugin, action).as_deref(), Ok(""), "{action}");
        }
        // What listens there may be the host itself.
        let is_trusted = plugin.scope().permissions().is_none();
        assert_eq!(does(&plugin, &unix).is_ok(), is_trusted);
        host.unload("actor");
    }
    let plugin = host.load(confined(Permissions::default())).unwrap();
    for action in actions {
        assert_eq!(does(&plugin, action), Err(EPERM), "{action}");
    }
    assert_eq!(does(&plugin, "pair").as_deref(), Ok(""));
    host.unload("actor");
    // No profile opens what the permissions close.
    let unrestricted = Permissions { syscalls: SyscallProfile::Unrestricted, ..Permissions::default() };
    let plugin = host.load(confined(unrestricted)).unwrap();
    for action in actions {
        assert_eq!(does(&plugin, action), Err(EPERM), "{action}");
    }
}

#[test]
fn with_the_network_other_families_are_refused() {
    let host = host();
    let network = Permissions { network: true, ..Permissions::default() };
    let plugin = host.load(confined(network.clone())).unwrap();
    assert_eq!(does(&plugin, "packets"), Err(EPERM));
    assert!(report(&plugin).parts().contains(&(Mechanism::Tcp, Protection::NotAsked)));
    host.unload("actor");
    // The filter is not all that there is: no capability is left.
    let unrestricted = Permissions { syscalls: SyscallProfile::Unrestricted, ..network };
    let plugin = host.load(confined(unrestricted)).unwrap();
    assert!(report(&plugin).parts().contains(&(Mechanism::SystemCalls, Protection::NotAsked)));
    assert_eq!(does(&plugin, "packets"), Err(EPERM));
    assert_eq!(does(&plugin, "read /etc/shadow"), Err(EACCES));
}
