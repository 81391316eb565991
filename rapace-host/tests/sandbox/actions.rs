//! What the plugin can be told to do.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime};

use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::ptrace;
use nix::sys::signal::kill;
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, truncate};
use rapace_plugin::{Plugin, PluginMain, run};
use rapace_session::{Config, IncomingCall, Router};

pub(crate) const ROLE: &str = "RAPACE_SANDBOX_ROLE";
/// Does what the body says, and answers with what came of it.
pub(crate) const DO: u32 = 1;
/// What a child does.
const CHILD: &str = "RAPACE_SANDBOX_CHILD";

/// The plugin itself, in the processes that the tests start; nothing in the test program.
#[test]
fn actor() {
    if let Ok(action) = std::env::var(CHILD) {
        println!("<{}>", answer(&action));
        std::process::exit(0);
    }
    let Ok(role) = std::env::var(ROLE) else { return };
    if role != "plugin" {
        let program = PluginMain::new("actor", "1.0.0");
        let program = if role == "drowsy" { program.idle_timeout(Duration::from_millis(50)) } else { program };
        let code = program.run_with([]);
        std::process::exit(if code == ExitCode::SUCCESS { 0 } else { 1 });
    }
    let code = run(|| {
        let services = Router::new().method(DO, |call: IncomingCall| {
            let action = String::from_utf8_lossy(call.body()).into_owned();
            call.reply(answer(&action).as_bytes());
        });
        Plugin::attach_with(Config::new("actor", "1.0.0"), "a test", |_| services)?.serve()?;
        Ok(())
    });
    std::process::exit(if code == ExitCode::SUCCESS { 0 } else { 1 });
}

fn answer(action: &str) -> String {
    match perform(action) {
        Ok(text) => format!("ok {text}"),
        Err(error) => format!("error {}", error.raw_os_error().unwrap_or(0)),
    }
}

/// What an answer says.
pub(crate) fn understood(answer: &str) -> Result<String, i32> {
    match answer.split_once(' ') {
        Some(("ok", text)) => Ok(text.to_owned()),
        Some(("error", errno)) => Err(errno.parse().unwrap()),
        _ => panic!("{answer:?}"),
    }
}

fn perform(action: &str) -> io::Result<String> {
    let (name, rest) = action.split_once(' ').unwrap_or((action, ""));
    let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
    let pid = || Pid::from_raw(first.parse().unwrap());
    let done = match name {
        "read" => return fs::read_to_string(first),
        "list" => return Ok(fs::read_dir(first)?.count().to_string()),
        "stat" => return Ok(fs::metadata(first)?.len().to_string()),
        "write" => File::options().write(true).open(first)?.write_all(b"written"),
        "create" => fs::write(first, "created"),
        "remove" => fs::remove_file(first),
        "rename" => fs::rename(first, second),
        "hard-link" => fs::hard_link(first, second),
        "link" => std::os::unix::fs::symlink(first, second),
        "truncate" => Ok(truncate(first, 0)?),
        "mode" => fs::set_permissions(first, PermissionsExt::from_mode(0o600)),
        "touch" => File::open(first)?.set_modified(SystemTime::UNIX_EPOCH),
        "execute" => return Ok(Command::new(first).arg(second).status()?.code().unwrap().to_string()),
        "again" => return in_child(rest),
        "thread" => std::thread::spawn(|| Ok(())).join().unwrap(),
        "connect" => TcpStream::connect(("127.0.0.1", first.parse().unwrap())).map(drop),
        "listen" => TcpListener::bind("127.0.0.1:0").map(drop),
        "udp" => UdpSocket::bind("127.0.0.1:0").map(drop),
        "unix" => UnixStream::connect(first).map(drop),
        "pair" => UnixStream::pair().map(drop),
        "packets" => {
            Ok(rustix::net::socket(rustix::net::AddressFamily::PACKET, rustix::net::SocketType::RAW, None).map(drop)?)
        }
        "mount" => mounted(first),
        "namespace" => Ok(unshare(CloneFlags::CLONE_NEWUTS)?),
        "trace" => traced(pid()),
        "signal" => Ok(kill(pid(), None)?),
        "limit" => limited(pid()),
        "anonymous" => Ok(rustix::fs::memfd_create("a", rustix::fs::MemfdFlags::CLOEXEC).map(drop)?),
        "watch" => Ok(rustix::fs::inotify::init(rustix::fs::inotify::CreateFlags::CLOEXEC).map(drop)?),
        _ => panic!("{action}"),
    };
    done.map(|()| String::new())
}

/// The same in a child, which this program is again.
fn in_child(action: &str) -> io::Result<String> {
    let mut command = Command::new(std::env::current_exe()?);
    let output = command.args(["--exact", "actions::actor", "--nocapture"]).env(CHILD, action).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let answer = text.split_once('<').unwrap().1.split_once('>').unwrap().0;
    understood(answer).map_err(io::Error::from_raw_os_error)
}

fn mounted(at: &str) -> io::Result<()> {
    mount(Some("none"), at, Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
    Ok(umount(at)?)
}

fn traced(pid: Pid) -> io::Result<()> {
    ptrace::attach(pid)?;
    waitpid(pid, None)?;
    Ok(ptrace::detach(pid, None)?)
}

/// Takes another process the right to a core dump.
fn limited(pid: Pid) -> io::Result<()> {
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    let pid = rustix::process::Pid::from_raw(pid.as_raw());
    Ok(rustix::process::prlimit(pid, rustix::process::Resource::Core, none).map(drop)?)
}
