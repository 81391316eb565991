//! Crash points: numbered places at which a test ends or stops its process.
//!
//! Each lies at a step that changes what the two processes believe of each other. Without the feature `crash-points` they
//! are nothing; with it, the variable `RAPACE_CRASH_AT` says at which of them, and at which passage, what happens:
//!
//! ```text
//!   RAPACE_CRASH_AT=published:3:kill                      behind the third frame, SIGKILL to itself
//!   RAPACE_CRASH_AT=bells-read:2:pass,beat:1:stop         SIGSTOP at the first beat behind that
//! ```
//!
//! The variable is read once. A process that starts others keeps it from them, or they crash too.

#[cfg(feature = "crash-points")]
mod plan;

/// Names the points, and lists them.
macro_rules! points {
    ($($point:ident $name:literal $doc:literal)+) => {
        /// A step of either process.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Point {
            $(#[doc = $doc] $point,)+
        }

        impl Point {
            /// All of them, in the order of a session's life.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$point),+];

            /// Its name in the variable.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$point => $name,)+ }
            }
        }
    };
}

points! {
    HalvesMade "halves-made" "The host has made both halves, and neither is sealed."
    HalvesSealed "halves-sealed" "The host has sealed them, and mapped its own."
    HalvesMapped "halves-mapped" "A peer has mapped both halves, and has written nothing."
    HeaderHalfWritten "header-half-written" "The header of the own half is there but for its magic."
    HeaderWritten "header-written" "The magic is there."
    OfferSent "offer-sent" "The host has sent the offer and the descriptors."
    OfferReceived "offer-received" "The plugin has them, and has mapped nothing."
    HelloHalfSent "hello-half-sent" "Some pieces of the hello have been sent."
    HelloSent "hello-sent" "All of it has."
    HelloReceived "hello-received" "The peer's hello has come, and is not answered."
    AcceptSent "accept-sent" "It has been accepted."
    SessionOpen "session-open" "The handshake is complete."

    SlotsTaken "slots-taken" "Slots were taken for a payload."
    PayloadHalfWritten "payload-half-written" "Half of a payload lies in them."
    PayloadWritten "payload-written" "All of it does."
    DescriptorWritten "descriptor-written" "Seven words of a descriptor are there, and the sequence word is not."
    Published "published" "The sequence word is there."
    BeforeFence "before-fence" "There is news for the peer, and its sleep word was not looked at."
    BeforeBell "before-bell" "The peer sleeps and is to be rung."
    AfterBell "after-bell" "It has been rung."

    Taken "taken" "A descriptor was taken from the peer's ring."
    BeforeAnnounce "before-announce" "Taken descriptors are to be announced."
    Announced "announced" "They have been."
    PayloadCopied "payload-copied" "A payload was copied out, and its slots are not returned."
    SlotsReturned "slots-returned" "The slots of a payload were returned."
    SlotsReclaimed "slots-reclaimed" "Slots that the peer has returned are free again."

    BeforeArm "before-arm" "A sleep is to be announced."
    Armed "armed" "It has been, and the ring was not looked at again."
    Asleep "asleep" "The process is about to wait for the socket."
    Awake "awake" "It has waited for it, and has not said so."
    Disarmed "disarmed" "The end of the sleep was announced."
    PulseActive "pulse-active" "The state word says that somebody attends."
    PulseDormant "pulse-dormant" "It says that nobody does."
    BellsRead "bells-read" "Bells were read from the socket."
    Beat "beat" "The heartbeat has moved."

    RequestSent "request-sent" "A request was sent, whole or in part."
    PieceSent "piece-sent" "A piece of a message was sent, and it is not the last."
    BeforeHandler "before-handler" "A handler is about to begin."
    AfterHandler "after-handler" "It has given its thread back."
    BeforeReply "before-reply" "The final of a call is to be sent."
    AfterReply "after-reply" "It was sent, or waits for room."
    ItemSent "item-sent" "An item was sent."
    GrantSent "grant-sent" "Credit was given."
    EndSent "end-sent" "The end of a stream was sent."
    CancelSent "cancel-sent" "A call was given up."
    CancelTaken "cancel-taken" "The peer has given one up."

    CloseSent "close-sent" "The last frame was sent, and the session has not ended."
    PulseClosed "pulse-closed" "The state word says that the session is over."
    SocketShut "socket-shut" "The socket was shut down."
}

impl Point {
    /// The point of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|point| point.name() == name)
    }
}

/// Passes a point, beyond which an armed process may not come.
#[inline(always)]
pub fn crash_point(point: Point) {
    #[cfg(feature = "crash-points")]
    plan::pass(point);
    #[cfg(not(feature = "crash-points"))]
    let _ = point;
}

/// Whether a point is armed in this process. What is done for a crash alone asks first.
#[inline(always)]
pub fn is_armed() -> bool {
    #[cfg(feature = "crash-points")]
    return plan::is_armed();
    #[cfg(not(feature = "crash-points"))]
    false
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_point_has_a_name_of_its_own() {
        let names: HashSet<_> = Point::ALL.map(Point::name).into_iter().collect();
        assert_eq!(names.len(), Point::ALL.len());
        for point in Point::ALL {
            assert_eq!(Point::from_name(point.name()), Some(point));
        }
        assert_eq!(Point::from_name("nowhere"), None);
    }
}
