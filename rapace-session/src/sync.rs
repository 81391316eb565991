//! What threads of a session wait and hand over with, so that shuttle can replace it: it then decides who goes on at each
//! access, and whoever would block in the kernel asks again and again.

#[cfg(not(shuttle))]
pub(crate) use self::real::*;
#[cfg(shuttle)]
pub(crate) use self::scheduled::*;

#[cfg(not(shuttle))]
mod real {
    use std::io;
    use std::os::fd::BorrowedFd;
    use std::time::Duration;

    use rapace_core::socket::{Readiness, Socket};

    pub(crate) use parking_lot::{Mutex, RwLock};
    pub(crate) use spin::mutex::{SpinMutex, SpinMutexGuard};
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    pub(crate) use std::thread::{Thread, current, sleep};
    pub(crate) use std::thread_local;

    /// Sleeps until this thread is unparked, or for so long. It may return early.
    pub(crate) fn park(patience: Option<Duration>, _woken: impl Fn() -> bool) {
        match patience {
            Some(patience) => std::thread::park_timeout(patience),
            None => std::thread::park(),
        }
    }

    /// Sleeps until there is something on the socket or the alarm, or for so long.
    pub(crate) fn wait(
        socket: &Socket,
        process: Option<BorrowedFd<'_>>,
        alarm: BorrowedFd<'_>,
        timeout: Option<Duration>,
    ) -> io::Result<Readiness> {
        socket.wait_or_alarm(process, Some(alarm), timeout)
    }
}

#[cfg(shuttle)]
mod scheduled {
    use std::io;
    use std::os::fd::BorrowedFd;
    use std::time::Duration;

    use rapace_core::socket::{Readiness, Socket};

    pub(crate) use shuttle::sync::MutexGuard as SpinMutexGuard;
    pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    pub(crate) use shuttle::thread::{Thread, current};
    pub(crate) use shuttle::thread_local;

    use crate::clock;

    /// One that is only ever tried.
    #[derive(Debug)]
    pub(crate) struct SpinMutex<T>(shuttle::sync::Mutex<T>);

    impl<T> SpinMutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn try_lock(&self) -> Option<SpinMutexGuard<'_, T>> {
            self.0.try_lock().ok()
        }
    }

    /// One that is not poisoned.
    #[derive(Debug)]
    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> shuttle::sync::MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(shuttle::sync::PoisonError::into_inner)
        }
    }

    /// The same for many readers.
    #[derive(Debug)]
    pub(crate) struct RwLock<T>(shuttle::sync::RwLock<T>);

    impl<T> RwLock<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::RwLock::new(value))
        }

        pub(crate) fn read(&self) -> shuttle::sync::RwLockReadGuard<'_, T> {
            self.0.read().unwrap_or_else(shuttle::sync::PoisonError::into_inner)
        }

        pub(crate) fn write(&self) -> shuttle::sync::RwLockWriteGuard<'_, T> {
            self.0.write().unwrap_or_else(shuttle::sync::PoisonError::into_inner)
        }
    }

    pub(crate) fn sleep(_time: Duration) {
        shuttle::thread::yield_now();
    }

    /// Whoever is not woken stays here, whatever the time: so a wake-up that is lost is found.
    pub(crate) fn park(_patience: Option<Duration>, woken: impl Fn() -> bool) {
        while !woken() {
            shuttle::thread::park();
        }
    }

    pub(crate) fn wait(
        socket: &Socket,
        process: Option<BorrowedFd<'_>>,
        alarm: BorrowedFd<'_>,
        timeout: Option<Duration>,
    ) -> io::Result<Readiness> {
        let until = timeout.map(|timeout| clock::now() + timeout);
        loop {
            let ready = socket.wait_or_alarm(process, Some(alarm), Some(Duration::ZERO))?;
            if ready != Readiness::default() || until.is_some_and(|until| until <= clock::now()) {
                return Ok(ready);
            }
            shuttle::thread::yield_now();
        }
    }
}
