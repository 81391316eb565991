//! No process at all: a call of a trait object, and a call into a dynamic library that was loaded.

use std::hint::black_box;
use std::path::Path;

use abi_stable::library::RootModule;
use race_library::{Echo, LibraryRef, implementation};

use crate::Error;
use crate::peer::{Client, Peer};
use crate::work::Work;

pub(super) struct InProcess;

impl Peer for InProcess {
    fn name(&self) -> &'static str {
        "in-process"
    }

    fn modes(&self) -> &'static [&'static str] {
        &["dyn-trait", "cdylib"]
    }

    fn crates(&self) -> &'static [&'static str] {
        &["abi_stable"]
    }

    fn start(&self, mode: &str, _place: &Path) -> Result<Box<dyn Client>, Error> {
        let echo = if mode == "cdylib" { Box::new(Loaded::new()?) } else { implementation() };
        Ok(Box::new(Here { echo }))
    }

    fn serve(&self, _mode: &str, _place: &Path) -> Result<(), Error> {
        Err("it has no server".into())
    }
}

struct Loaded(LibraryRef);

impl Loaded {
    /// Cargo puts the library beside the program.
    fn new() -> Result<Self, Error> {
        let path = std::env::current_exe()?.with_file_name("librace_library.so");
        // Its errors are no `Send`.
        Ok(Self(LibraryRef::load_from_file(&path).map_err(|error| format!("{}: {error}", path.display()))?))
    }
}

impl Echo for Loaded {
    fn echo(&self, request: &[u8], reply: &mut [u8]) -> u64 {
        self.0.echo()(request.into(), reply.into())
    }
}

struct Here {
    echo: Box<dyn Echo>,
}

impl Client for Here {
    fn server_id(&self) -> Option<u32> {
        None
    }

    fn sequential(&mut self, work: &mut Work) -> Result<(), Error> {
        let (mut request, mut reply) = (vec![0; work.bytes()], vec![0; work.bytes()]);
        while let Some(mark) = work.begin() {
            request.fill(mark);
            black_box(self.echo.echo(&request, &mut reply));
            work.end(&reply)?;
        }
        Ok(())
    }

    fn one_way(&mut self, work: &mut Work) -> Result<bool, Error> {
        let (mut request, mut reply) = (vec![0; work.bytes()], vec![0; work.bytes()]);
        let mut total = 0u64;
        while let Some(mark) = work.begin() {
            request.fill(mark);
            total = total.wrapping_add(self.echo.echo(&request, &mut reply));
        }
        work.settle(total)?;
        Ok(true)
    }
}
