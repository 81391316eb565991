//! A direct call, from its begin to its end.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::{Duration, Instant};

use futures_core::Stream;
use rapace_session::{CallError, Code, Limits, Nesting, Status, depth, panic_guard};

use super::alarm::Alarm;
use super::answer::Answer;
use super::block::block_on;
use super::items::{DirectItems, Produced};
use super::queue::queue;
use super::watched::Watched;
use crate::blocking::BlockingIncoming;
use crate::built_in::Shared;
use crate::client::Client;
use crate::context::Context;
use crate::incoming::Incoming;
use crate::method_info::MethodInfo;
use crate::pump::Iter;

/// A call that has begun. Dropped before its end, it was cancelled.
#[derive(Debug)]
#[must_use = "a call that is dropped is cancelled"]
pub struct DirectCall {
    method: &'static MethodInfo,
    /// Its caller waits for it with this thread.
    blocks: bool,
    /// From 1, counted with the calls of sessions that led here.
    depth: u8,
    deadline: Option<Deadline>,
    watched: Option<Box<Watched>>,
}

#[derive(Clone, Copy, Debug)]
struct Deadline {
    /// None beyond what the clock can show.
    until: Option<Instant>,
    time: Duration,
}

impl DirectCall {
    #[inline]
    pub(super) fn begin(
        built_in: &Shared,
        client: &Client,
        method: &'static MethodInfo,
        blocks: bool,
    ) -> Result<Self, CallError> {
        built_in.check_open()?;
        let depth = depth().saturating_add(1);
        let bound = Limits::default().depth_max;
        if depth > bound {
            return Err(CallError::TooDeep { found: depth.into(), bound });
        }
        let deadline = client.options().get_deadline().map(Deadline::new).transpose()?;
        let watched = match Watched::is_wanted(built_in, client) {
            false => None,
            true => {
                let until = deadline.and_then(|deadline| deadline.until);
                Some(Box::new(Watched::begin(built_in, client, method, until)?))
            }
        };
        Ok(Self { method, blocks, depth, deadline, watched })
    }

    pub(super) fn context(&self, built_in: &Arc<Shared>, client: &Client) -> Context {
        let (metadata, trace) = match &self.watched {
            Some(watched) => (watched.metadata().clone(), watched.trace()),
            None => (client.options().get_metadata().clone(), None),
        };
        let until = self.deadline.and_then(|deadline| deadline.until);
        Context::direct(Arc::clone(built_in), self.method, metadata, until, self.depth, trace)
    }

    /// Runs a method of the implementation: to its end if this call blocks.
    #[inline]
    pub fn run<'a, F>(&'a self, make: impl FnOnce() -> F) -> Answer<'a, F::Output>
    where
        F: Future + Send + 'a,
    {
        if self.blocks {
            return Answer::Done(self.run_here(make));
        }
        match self.step(make) {
            Ok(future) => Answer::Later(Box::pin(future)),
            Err(error) => Answer::Done(Err(error)),
        }
    }

    #[inline]
    fn run_here<F: Future>(&self, make: impl FnOnce() -> F) -> Result<F::Output, CallError> {
        let result = self.step(|| {
            let mut future = pin!(make());
            // Most are ready at once, and have nobody to wake.
            match future.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())) {
                Poll::Ready(output) => Ok(output),
                Poll::Pending => self.block_on(future),
            }
        });
        result.flatten()
    }

    #[cold]
    fn block_on<F: Future>(&self, mut future: Pin<&mut F>) -> Result<F::Output, CallError> {
        let mut alarm = None;
        block_on(poll_fn(|cx| self.poll(cx, &mut alarm, |cx| future.as_mut().poll(cx))))
    }

    /// The result of a call that blocked.
    ///
    /// # Errors
    ///
    /// How the call failed.
    #[inline]
    pub fn done<T>(&self, answer: Answer<'_, T>) -> Result<T, CallError> {
        match answer {
            Answer::Done(result) => result,
            Answer::Later(future) => block_on(self.wait(Answer::Later(future))),
        }
    }

    /// Waits for the result.
    ///
    /// # Errors
    ///
    /// How the call failed.
    pub async fn wait<T>(&self, answer: Answer<'_, T>) -> Result<T, CallError> {
        match answer {
            Answer::Done(result) => result,
            Answer::Later(mut future) => {
                let mut alarm = None;
                poll_fn(|cx| self.poll(cx, &mut alarm, |cx| future.as_mut().poll(cx))).await
            }
        }
    }

    /// Makes a stream of the caller's one of the handler's, as far as somebody polls what moves it.
    pub fn items<S: Stream>(&self, stream: S) -> (Incoming<S::Item>, impl Future<Output = ()> + use<S>) {
        let (writer, reader) = queue();
        (Incoming::of_queue(reader, self.method), writer.send_all(stream))
    }

    /// The same with items that are there.
    pub fn items_of<I: Iterator>(&self, items: I) -> (Incoming<I::Item>, impl Future<Output = ()> + use<I>) {
        self.items(Iter(items))
    }

    /// Waits for the result, and moves a stream meanwhile.
    ///
    /// # Errors
    ///
    /// How the call failed.
    pub async fn wait_sending<T>(
        &self,
        answer: Answer<'_, T>,
        sending: impl Future<Output = ()>,
    ) -> Result<T, CallError> {
        let (mut waiting, mut sending) = (pin!(self.wait(answer)), pin!(sending));
        let mut is_sent = false;
        poll_fn(|cx| {
            is_sent = is_sent || sending.as_mut().poll(cx).is_ready();
            waiting.as_mut().poll(cx)
        })
        .await
    }

    /// The same, blocking this thread.
    ///
    /// # Errors
    ///
    /// How the call failed.
    pub fn done_sending<T>(&self, answer: Answer<'_, T>, sending: impl Future<Output = ()>) -> Result<T, CallError> {
        block_on(self.wait_sending(answer, sending))
    }

    /// The call's stream. It ends with that.
    pub fn receive<T: Send + 'static>(self, items: DirectItems<T>) -> Incoming<T> {
        let method = self.method;
        Incoming::of_direct(Produced::new(self, items, None), method)
    }

    /// The same; a stream of the caller's is moved while it is polled.
    pub fn exchange<T: Send + 'static>(
        self,
        items: DirectItems<T>,
        sending: impl Future<Output = ()> + Send + 'static,
    ) -> Incoming<T> {
        let method = self.method;
        Incoming::of_direct(Produced::new(self, items, Some(Box::pin(sending))), method)
    }

    /// A stream for threads that block.
    pub fn blocking<T>(incoming: Incoming<T>) -> BlockingIncoming<T> {
        BlockingIncoming::new(incoming)
    }

    /// The call has ended.
    ///
    /// # Errors
    ///
    /// How it failed.
    #[inline]
    pub fn end<T>(self, result: Result<T, CallError>) -> Result<T, CallError> {
        if let Some(watched) = self.watched {
            watched.end(result.as_ref().err());
        }
        result
    }

    /// Polls what belongs to the handler; an error if it panics, or its time is over.
    pub(super) fn poll<T>(
        &self,
        cx: &mut TaskContext<'_>,
        alarm: &mut Option<Alarm>,
        poll: impl FnOnce(&mut TaskContext<'_>) -> Poll<T>,
    ) -> Poll<Result<T, CallError>> {
        match self.step(|| poll(cx)) {
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Ok(Poll::Pending) => self.poll_deadline(cx, alarm).map(Err),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_deadline(&self, cx: &mut TaskContext<'_>, alarm: &mut Option<Alarm>) -> Poll<CallError> {
        let Some(Deadline { until: Some(until), time }) = self.deadline else { return Poll::Pending };
        if Instant::now() >= until {
            return Poll::Ready(CallError::DeadlineExceeded { waited: time });
        }
        match Alarm::set(alarm, until, cx.waker()) {
            Ok(()) => Poll::Pending,
            Err(error) => {
                let message = format!("nobody can watch over the deadline of {}: {error}", self.method.full_name());
                Poll::Ready(CallError::Status(Status::new(Code::ResourceExhausted, message)))
            }
        }
    }

    /// Runs a part of the handler as what it is: nested in this call, in its span, and with a panic kept off the caller.
    #[inline]
    fn step<T>(&self, step: impl FnOnce() -> T) -> Result<T, CallError> {
        let _nested = Nesting::enter(self.depth);
        let result = match &self.watched {
            None => panic_guard(step),
            Some(watched) => watched.within(|| panic_guard(step)),
        };
        result.ok_or_else(|| self.panicked())
    }

    #[cold]
    fn panicked(&self) -> CallError {
        let message = format!("the handler of {} panicked: the callee's output says why", self.method.full_name());
        CallError::Status(Status::new(Code::Internal, message))
    }
}

impl Deadline {
    fn new(time: Duration) -> Result<Self, CallError> {
        if time.is_zero() {
            return Err(CallError::DeadlineExceeded { waited: time });
        }
        Ok(Self { until: Instant::now().checked_add(time), time })
    }
}
