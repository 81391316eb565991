//! Who connects and means no good.

use std::collections::VecDeque;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use rapace_core::socket::Socket;
use rapace_session::{CallOptions, Config, Handshake, NoService, PeerB, Session};

use crate::{Operator, Stand, eventually, plugin};

/// A path at which the process of another user connects.
const SOCKET: &str = "RAPACE_TEST_SOCKET";

/// What the process of another user does: 0 if it has a session, 1 if it has none, and says why.
pub(crate) fn stranger() -> ! {
    let path = std::env::var(SOCKET).unwrap();
    match Session::connect(path, Config::new("stranger", "1"), NoService) {
        Ok(_) => std::process::exit(0),
        Err(error) => {
            eprintln!("stranger: {error}");
            std::process::exit(1)
        }
    }
}

fn connect(stand: &Stand) -> Socket {
    Socket::connect(stand.point.path()).unwrap()
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

fn works(operator: &Operator) {
    assert_eq!(operator.admin().list().unwrap().len(), 1);
}

#[test]
fn another_user_is_turned_away_though_the_mode_would_let_him_in() {
    // Only root can be another user for a while.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let stand = Stand::new();
    let open = |mode| {
        stand.directory.mode(mode);
        fs::set_permissions(stand.point.path(), PermissionsExt::from_mode(mode)).unwrap();
    };
    // Another user may not be able to read this program where it is.
    let program = std::env::temp_dir().join(format!("rapace-stranger-{}", std::process::id()));
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let run = |uid: u32| {
        let mut command = Command::new(&program);
        command.args(["--exact", "plugin::plugin_process", "--nocapture"]).env(plugin::ROLE, "stranger");
        let output = command.env(SOCKET, stand.point.path()).uid(uid).gid(uid).current_dir("/").output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(run(0).0, Some(0));
    let (code, said) = run(65534);
    assert!(code == Some(1) && said.contains("Permission denied"), "{code:?} {said}");
    open(0o777);
    let (code, said) = run(65534);
    assert!(code == Some(1) && said.contains("the peer closed the socket"), "{code:?} {said}");
    fs::remove_file(program).unwrap();
    works(&stand.operator());
}

#[test]
fn a_hundred_silent_connections_take_no_threads_and_keep_nobody_out() {
    let stand = Stand::new();
    let good = stand.operator();
    works(&good);
    let before = threads();
    let silent: Vec<_> = (0..100).map(|_| connect_when_there_is_room(&stand)).collect();
    works(&good);
    works(&stand.operator());
    // Other tests run beside this one, with threads of their own.
    assert!(threads() < before + 90, "{before} {}", threads());
    stand.desk().blocking().echo("still here").unwrap();
    // The oldest were given up for the new ones, and the last have their time.
    let ended = || silent.iter().filter(|socket| has_ended(socket)).count();
    eventually("all are given up", || ended() == silent.len());
    works(&good);
}

#[test]
fn the_oldest_of_those_who_say_nothing_make_room_at_once() {
    let stand = Stand::new();
    let in_time = || {
        let start = Instant::now();
        let silent: Vec<_> = (0..100).map(|_| connect_when_there_is_room(&stand)).collect();
        eventually("most have ended", || silent.iter().filter(|socket| has_ended(socket)).count() >= 60);
        // Sooner than any of them is given up for being silent. On a busy machine, once of many times.
        start.elapsed() < Duration::from_secs(2)
    };
    assert!((0..20).any(|_| in_time()));
}

fn connect_when_there_is_room(stand: &Stand) -> Socket {
    loop {
        // The queue of those who have yet to be accepted is bounded.
        if let Ok(socket) = Socket::connect(stand.point.path()) {
            return socket;
        }
        std::thread::yield_now();
    }
}

fn has_ended(socket: &Socket) -> bool {
    socket.wait(None, Some(Duration::ZERO)).unwrap().hangup
}

#[test]
fn garbage_ends_its_own_connection() {
    let stand = Stand::new();
    let good = stand.operator();
    for garbage in [&[0xff; 4000][..], b"GET / HTTP/1.1\r\n\r\n", &[2], &[0; 1]] {
        let socket = connect(&stand);
        let mut file = fs::File::from(socket.into_fd());
        file.write_all(garbage).unwrap();
        let socket = Socket::from_fd(file.into()).unwrap();
        eventually("it is hung up on", || has_ended(&socket));
    }
    works(&good);
}

#[test]
fn who_floods_is_served_and_others_too() {
    let stand = Stand::new();
    let good = stand.operator();
    let flood = stand.operator();
    let list = 1100;
    let mut calls = VecDeque::new();
    let mut made = 0;
    while made < 3000 {
        match flood.session.try_start(list, b"", &CallOptions::new()) {
            Ok(call) => {
                calls.push_back(call);
                made += 1;
                if made % 500 == 0 {
                    works(&good);
                }
            }
            // As many as it may have in flight: the oldest is given up, whether it was answered or not.
            Err(_) => drop((calls.pop_front(), flood.session.serve_for(Duration::ZERO))),
        }
    }
    works(&good);
    stand.desk().blocking().echo("still here").unwrap();
}

#[test]
fn of_many_sessions_those_that_do_nothing_make_room() {
    let stand = Stand::new();
    let busy = stand.operator();
    let _following = busy.admin().logs(rapace_host_api::admin::LogQuery { follow: true, ..Default::default() });
    let idle: Vec<_> = (0..40).map(|_| stand.operator()).collect();
    works(&idle[39]);
    let gone = |operator: &Operator| operator.session.serve_for(Duration::from_millis(1)).is_some();
    eventually("the first have gone", || idle[..20].iter().all(gone));
    assert!(!gone(&busy) && !gone(&idle[39]));
    works(&busy);
}

#[test]
fn who_goes_amid_the_handshake_keeps_nobody_out() {
    let stand = Stand::new();
    for _ in 0..200 {
        let socket = connect_when_there_is_room(&stand);
        drop(Handshake::<PeerB>::accept(socket, Config::new("brief", "1")));
    }
    works(&stand.operator());
}
