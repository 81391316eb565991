//! The methods that the two processes call. Arguments and results are words ([`crate::pattern::words`]) or plain bytes.

/// Answers with the same bytes and metadata.
pub const ECHO: u32 = 1;
/// Calls the caller back until a call is as deep as word 0 says; answers with that depth and the bytes behind word 0.
pub const NEST: u32 = 2;
/// Answers with as many bytes as word 0 says, of the pattern of word 1.
pub const BYTES: u32 = 3;
/// As [`BYTES`], from another thread and later.
pub const BYTES_LATER: u32 = 4;
/// Is not answered until [`RELEASE`], and then with the same bytes.
pub const HOLD: u32 = 5;
/// Answers all calls that are held, and then with how many there were.
pub const RELEASE: u32 = 6;
/// Answers with how many calls are held.
pub const HELD: u32 = 7;
/// Waits until it is cancelled, on a thread of its own.
pub const WATCH: u32 = 8;
/// Answers with how many calls of [`WATCH`] were begun, and how many of them were cancelled.
pub const WATCHED: u32 = 9;
/// Counts that it was run.
pub const MARK: u32 = 10;
/// Answers with how often [`MARK`] was run.
pub const MARKS: u32 = 11;
/// Calls [`HOLD`] of the caller and answers with its result.
pub const ENTER: u32 = 12;
/// Answers with the nanoseconds that are left, or with the largest word if there is no deadline.
pub const TIME_LEFT: u32 = 13;
/// Answers with the caller's name.
pub const WHO: u32 = 14;
/// Fails with `NotFound` and the bytes as message and details.
pub const FAIL: u32 = 15;
/// Panics.
pub const PANIC: u32 = 16;
/// Drops the call.
pub const DROP: u32 = 17;
/// Answers with as many bytes of metadata as word 0 says.
pub const METADATA: u32 = 18;

/// Sends as many items as word 0 says, of as many bytes as word 1 says, of the pattern of word 2; answers with their count.
pub const SEND_ITEMS: u32 = 30;
/// Takes items, which are as [`SEND_ITEMS`] sends them; answers with their count.
pub const TAKE_ITEMS: u32 = 31;
/// Sends every item back; answers with their count.
pub const ECHO_ITEMS: u32 = 32;
/// Takes no items, sends none, and never answers.
pub const HOLD_ITEMS: u32 = 33;
/// Answers with how many calls of [`HOLD_ITEMS`] were begun, and how many of them were cancelled.
pub const HELD_ITEMS: u32 = 34;
/// Panics, but not at once.
pub const PANIC_LATER: u32 = 35;
/// Sends as many items as word 0 says, and drops the call.
pub const DROP_AMID: u32 = 36;

/// Of the plugin alone: answers with a [`crate::snapshot::Snapshot`] of its session.
pub const SNAPSHOT: u32 = 100;
/// Of the plugin alone: calls the host from as many threads as word 0 says, each as often as word 1 says, the method of
/// word 2 with as many bytes as word 3 says, and checks that they come back. Answers with how many did.
pub const CALL_HOST: u32 = 101;
/// Of the plugin alone: computes for as many milliseconds as word 0 says, on the thread that serves; says that it makes
/// progress if word 1 is not 0.
pub const COMPUTE: u32 = 102;
/// Of the plugin alone: tells the host to open no more calls.
pub const GO_AWAY: u32 = 103;
/// Of the plugin alone: closes the session.
pub const CLOSE: u32 = 104;
/// Of the plugin alone: answers all calls that are held, and ends the process with the code of word 0.
pub const RELEASE_AND_EXIT: u32 = 105;
/// Of the plugin alone: as [`COMPUTE`], then as [`GO_AWAY`], and never answers.
pub const LEAVE: u32 = 107;
/// Of the plugin alone: answers with its view of the host: 0 alive, 1 dormant, 2 unresponsive, 3 gone.
pub const HOST_STATE: u32 = 106;
/// Of the plugin alone: makes as many calls at once to the host as word 0 says, of all kinds, with as many items as word 1
/// says, of up to as many bytes as word 2 says. Answers with how many calls went well.
pub const LOAD_HOST: u32 = 110;
/// Of the plugin alone: makes a call to the host and gives it up at the point of word 0 (see [`crate::cancel::Point`]).
/// Answers with how many items there was credit for.
pub const CANCEL_TO_HOST: u32 = 111;
/// Of the plugin alone: as [`TAKE_ITEMS`], and slowly. Answers with the most bytes that were kept meanwhile, too.
pub const TAKE_SLOWLY: u32 = 112;
/// Of the plugin alone: makes as many rounds of calls of all kinds to the host as word 0 says; answers when they are done.
pub const EXERCISE: u32 = 113;

/// Of a lying peer: answers after it has broken the rule of word 0 as often as word 1 says.
pub const LIE: u32 = 200;

/// Of a lying peer: closes the socket, and ends the process a moment later, with the code of word 0.
pub const HANG_UP: u32 = 201;

/// Of the plugin alone, as a lifecycle call: answers with the same bytes.
pub const INITIALIZE: u32 = 2000;

/// No peer has it.
pub const UNKNOWN: u32 = 999;
