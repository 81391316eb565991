//! Makes calls of one kind, both ends in one thread, for a profiler that counts instructions.
//!
//! `cargo run -p xtask -- instructions` runs it; by hand: `instructions KIND COUNT`, and without arguments it names the kinds.
//! What is to be counted happens in `turn_of_caller` and `turn_of_callee`.

use rapace_benches::Error;
use rapace_benches::ends::Meter;
use rapace_benches::kind::Kind;

/// Calls before those that are counted: what is kept for the next call is there then.
const WARM_UP: u64 = 512;

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [] => Kind::ALL.iter().for_each(|kind| println!("{kind}")),
        [kind, count] => {
            let (kind, count): (Kind, u64) = (kind.parse()?, count.parse()?);
            let ends = kind.ends()?;
            kind.run(&ends, WARM_UP, &mut Unmarked)?;
            kind.run(&ends, count, &mut Marked)?;
        }
        _ => return Err("usage: instructions [KIND COUNT]".into()),
    }
    Ok(())
}

/// Turns that are not counted.
struct Unmarked;

impl Meter for Unmarked {
    fn caller<T>(&mut self, turn: impl FnOnce() -> T) -> T {
        turn()
    }

    fn callee<T>(&mut self, turn: impl FnOnce() -> T) -> T {
        turn()
    }
}

/// Turns that the profiler can tell apart by the names of functions.
struct Marked;

impl Meter for Marked {
    fn caller<T>(&mut self, turn: impl FnOnce() -> T) -> T {
        turn_of_caller(turn)
    }

    fn callee<T>(&mut self, turn: impl FnOnce() -> T) -> T {
        turn_of_callee(turn)
    }
}

#[inline(never)]
fn turn_of_caller<T>(turn: impl FnOnce() -> T) -> T {
    turn()
}

#[inline(never)]
fn turn_of_callee<T>(turn: impl FnOnce() -> T) -> T {
    turn()
}
