//! What hostile plugins do, and what is to become of them.
//!
//! The program `peer` does it, a test program hosts it. [`each_hostile!`](crate::each_hostile) makes something of every
//! behaviour, such as a test of its name.

/// What becomes of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is no session; the error says this.
    NoSession(&'static str),
    /// The session ends by a fault of this rule.
    Fault(&'static str),
    /// The session ends by a fault of any rule.
    AnyFault,
    /// The session ends, as the plugin is gone.
    Gone,
    /// It is borne with.
    Stays,
    /// It ends by a fault, or is gone, or is borne with: that depends on what the host happens to see, or on the kernel.
    Survived,
}

/// What the host does with the plugin meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostDoes {
    /// It serves the plugin, and asks nothing of it.
    Attend,
    /// It makes calls, of bodies small and large.
    Call,
    /// It opens streams both ways.
    Stream,
}

macro_rules! hostile {
    ($each:tt $($behaviour:ident $name:ident $host:ident $outcome:expr, $doc:literal;)*) => {
        /// A way to be hostile.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Hostile {
            $(#[doc = $doc] $behaviour,)*
        }

        impl Hostile {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$behaviour,)*];

            /// Its name on a command line.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$behaviour => stringify!($name),)*
                }
            }

            /// What is to become of it.
            pub fn outcome(self) -> Outcome {
                match self {
                    $(Self::$behaviour => $outcome,)*
                }
            }

            /// What its host does meanwhile.
            pub fn host_does(self) -> HostDoes {
                match self {
                    $(Self::$behaviour => HostDoes::$host,)*
                }
            }
        }

        /// Passes each behaviour to a macro: its variant and its name.
        #[macro_export]
        macro_rules! each_hostile {
            ($each each:ident) => {
                $($each each!($behaviour $name);)*
            };
        }
    };
}

impl Hostile {
    /// The behaviour of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|behaviour| behaviour.name() == name)
    }
}

use Outcome::{AnyFault, Fault, Gone, NoSession, Stays, Survived};

hostile! { $
    ScribblesEverywhere scribbles_everywhere Call AnyFault, "Random words all over its half.";
    ScribblesInItsHeader scribbles_in_its_header Call AnyFault, "Random words in its state, heartbeat, progress and sleep.";
    ScribblesInItsRing scribbles_in_its_ring Call AnyFault, "Random words in its ring.";
    ScribblesInItsReturns scribbles_in_its_returns Call Fault("S6"), "Random words in its return ring.";
    ScribblesInItsSlots scribbles_in_its_slots Call Stays, "Random words in the slots of its answers.";
    TearsItsDescriptors tears_its_descriptors Call Survived, "Other words in descriptors while they are read.";
    ChangesPayloads changes_payloads_while_they_are_read Call Stays, "Other bytes in payloads while they are read.";
    PunchesHoles punches_holes_in_its_half Call Stays, "Takes the pages of its half away, again and again.";

    JumpsAhead jumps_ahead_in_its_sequence Call Fault("D1"), "A sequence beyond the one that is due.";
    Rewinds rewinds_its_sequence Call Fault("D1"), "A sequence that was used long ago.";
    RepeatsItself repeats_a_sequence Call Fault("D1"), "The last sequence, once more.";
    IsALapAhead is_a_lap_ahead Call Fault("D1"), "The sequence that is due in a lap.";
    ClaimsProgress claims_progress_that_cannot_be Call Fault("R4"), "It has consumed more than there is.";
    TakesProgressBack takes_its_progress_back Call Fault("R4"), "It has consumed less than before.";

    ReplaysASlot replays_a_slot Call Fault("D8"), "Two answers in one run of one generation.";
    OverlapsItsSlots overlaps_its_slots Call Stays, "Answers in runs that overlap.";
    NamesNoSlot names_a_slot_that_is_not_there Call Fault("D6"), "An answer behind the last slot.";
    RunsPastItsEnd runs_past_its_last_slot Call Fault("D6"), "An answer of 4 GiB.";
    ReturnsNothingOfItsOwn returns_a_slot_it_never_had Call Fault("S7"), "Returns what was not sent.";
    ReturnsTwice returns_a_slot_twice Call Fault("S7"), "Returns a run twice.";
    ReturnsAnotherGeneration returns_another_generation Call Fault("S7"), "Returns a run of the future.";
    ReturnsALapAhead returns_a_lap_ahead Call Fault("S6"), "Returns out of their order.";
    NeverReturns never_returns_a_slot Call Stays, "Keeps all slots.";

    IsOfAnotherVersion is_of_another_version Attend NoSession("version is 2"), "A hello of version 2.";
    IsInTheWrongRole is_in_the_wrong_role Attend NoSession("role is 0"), "A hello of a host.";
    TakesTooManyCalls takes_too_many_calls Attend NoSession("max_calls"), "A hello out of bounds.";
    BreaksItsRegistry has_a_broken_registry Attend NoSession("registry of the hello"), "A registry that is none.";
    Babbles babbles Attend NoSession("no hello"), "Bytes that are no hello.";
    SaysAHugeHello says_a_huge_hello Attend NoSession("X6"), "A hello of a byte too many.";
    SaysHelloWithoutEnd says_hello_without_end Attend NoSession("X6"), "Piece after piece of a hello.";
    SaysHelloInNothing says_hello_in_empty_pieces Attend NoSession("M1"), "Pieces of a hello without a byte.";
    SaysHelloTwice says_hello_twice Attend NoSession("X2"), "Two hellos.";
    CallsBeforeItsHello calls_before_its_hello Attend NoSession("X2"), "A call first.";
    HasAnotherNonce has_another_nonce Attend NoSession("H3"), "The half of another session.";
    RefusesAtLength refuses_at_length Attend NoSession("K6"), "A refusal of 1025 bytes.";
    RefusesInNoLanguage refuses_in_no_language Attend NoSession("K6"), "A refusal that is no UTF-8.";
    OffersBack offers_back Attend NoSession("K6"), "An offer to its host.";
    IsSilent is_silent Attend NoSession("no hello from it within"), "No hello.";
    StopsBehindTheOffer stops_behind_the_offer Attend NoSession("no hello from it within"), "Stops before its hello.";
    StopsAmidItsHello stops_amid_its_hello Attend NoSession("no hello from it within"), "Stops behind half a hello.";
    StopsBehindItsHello stops_behind_its_hello Attend NoSession("no answer to the hello"), "Stops before it accepts.";
    ClaimsToTakeNothing claims_to_take_nothing Call Stays, "A hello with the least of everything.";

    FloodsPings floods_pings Attend Stays, "PING without end.";
    FloodsPongs floods_pongs Attend Stays, "PONG without end.";
    FloodsCancels floods_cancels Attend Stays, "CANCEL of calls that are not there.";
    FloodsGrants floods_grants Attend Stays, "GRANT to calls that are not there.";
    FloodsCredit floods_credit Attend Stays, "GRANT of next to nothing to a stream that has credit.";
    FloodsGoAways floods_go_aways Attend Stays, "GO_AWAY without end.";
    FloodsEnds floods_ends Attend Stays, "Ends of streams that are not there.";
    RingsAtEachSleep rings_at_each_sleep Attend Stays, "Wakes its host whenever that sleeps, as it may, for nothing.";
    RingsWithoutEnd rings_without_end Attend Fault("K7"), "Bells for no sleep.";
    SendsNoBell sends_what_is_no_bell Attend Fault("K6"), "A datagram of an unknown kind.";
    SendsNothing sends_empty_datagrams Attend Fault("K6"), "A datagram of no byte.";
    SendsTooMuch sends_a_long_datagram Attend Fault("K6"), "A datagram of 64 KiB.";
    Refuses refuses_amid_the_session Attend Gone, "A refusal behind the handshake.";

    FloodsUnknownMethods floods_unknown_methods Attend Stays, "Calls of what its host does not have.";
    CallsAndCancels calls_and_cancels Attend Stays, "Calls, and gives them up at once.";
    CallsTooMuch calls_beyond_max_calls Attend Fault("C1"), "More calls than its host takes.";
    CallsOnABusyChannel calls_on_a_busy_channel Attend Fault("C1"), "A call on the channel of another.";
    CallsWithoutGeneration calls_without_a_generation Attend Fault("C1"), "Generation 0.";
    NestsTooDeep nests_too_deep Attend Stays, "Calls of depth 255.";
    NestsWithoutEnd nests_without_end Call Stays, "Each call is answered by a call.";
    SendsPiecesWithoutEnd sends_pieces_without_end Attend Stays, "A request that never ends.";
    SendsEmptyPieces sends_empty_pieces Attend Fault("M1"), "A request in pieces of no byte.";
    BreaksAMessageOff breaks_a_message_off Attend Fault("M2"), "A request that goes on as another.";
    SendsHugeMetadata sends_huge_metadata Attend Stays, "Metadata of 4 GiB, they say.";
    SendsBrokenMetadata sends_broken_metadata Attend Stays, "Metadata that are none.";
    HasAllTheTime has_all_the_time Attend Stays, "A deadline at the end of time.";
    CallsLifecycle calls_a_lifecycle_method Attend Fault("D3"), "A request on channel 0.";

    SendsItemsWithoutCredit sends_items_without_credit Attend Fault("C14"), "Items beyond its credit.";
    SendsItemsBehindTheEnd sends_items_behind_the_end Attend Fault("C13"), "Items behind their end.";
    OverflowsCredit overflows_credit Attend Fault("C15"), "More credit than anybody may have.";
    GrantsNobody grants_what_was_not_asked_for Attend Fault("C13"), "Credit for a unary call.";
    OpensStreams opens_streams_and_leaves_them Attend Stays, "Streams that it neither reads nor feeds.";
    AnswersStreamsWithNothing sends_empty_items Stream Stays, "Items of no byte, as many as it has credit for.";
    StopsAmidAnItem stops_amid_an_item Stream Stays, "Stops behind half an item.";

    NeverAnswers never_answers Call Stays, "Takes all and says nothing.";
    AnswersTwice answers_twice Call Fault("C2"), "Two answers to one call.";
    AnswersAnotherMethod answers_another_method Call Fault("C2"), "An answer of another method.";
    AnswersEarly answers_before_the_request_ends Call Fault("C2"), "An answer to half a request.";
    AnswersNobody answers_what_was_not_asked Call Fault("C2"), "An answer to no call.";
    AnswersWithItems answers_with_items Call Fault("C13"), "Items to a unary call.";
    AnswersTooMuch answers_too_much Call Stays, "An answer beyond what its host takes.";
    AnswersWithoutEnd answers_without_end Call Stays, "An answer in pieces that never ends.";
    FailsInNoLanguage fails_in_no_language Call Stays, "Errors that do not parse.";
    NeverReads never_reads_its_ring Call Stays, "Takes nothing.";
    BeatsWithoutProgress beats_without_progress Call Stays, "A heartbeat, and nothing else.";
    SpinsSilently spins_silently Call Stays, "Active, and no heartbeat.";
    JumpsItsStates jumps_its_states Call Survived, "Starting, active, dormant and closed by turns.";
    SaysNoState says_a_state_that_is_none Call Fault("L6"), "State 9.";
    ClosesAndGoesOn closes_and_goes_on Call Survived, "CLOSE, and more behind it.";
    StopsAmidADescriptor stops_amid_a_descriptor Call Stays, "Stops behind half the words of an answer.";
    StopsAmidAnAnswer stops_amid_an_answer Call Stays, "Stops behind the first piece of an answer.";
    StopsWithSlots stops_with_slots Call Stays, "Stops while it holds slots.";

    TriesTheKernel tries_to_change_what_it_was_given Call Stays, "Truncates, grows, unseals, maps and writes the halves.";
    SendsDescriptors sends_250_descriptors Call Survived, "250 descriptors with every bell.";
    SendsItsHalves sends_its_halves_back Call Survived, "The descriptors of the session, back to its host.";
    LingersOverDescriptors lingers_over_descriptors Call Survived, "Descriptors that take minutes to close.";
    ClosesItsSocket closes_its_socket_and_lives_on Call Gone, "Closes its socket.";
    StopsListening stops_listening Call Stays, "Shuts its end of the socket down for reading: no bell arrives.";
    LeavesAChild leaves_a_child_with_its_socket Call Gone, "Dies, while a child of its keeps the socket open.";
    FloodsItsOutput floods_its_output Call Stays, "Megabytes on standard output and standard error.";
}
