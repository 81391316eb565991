//! A plugin that is hostile, in one way at a time: see [`rapace_tests::hostile`].
//!
//! Each way ends when the host goes, with whatever error says so.

mod answers;
mod floods;
mod greetings;
mod kernel;
mod memory;
mod output;
mod requests;
mod returns;
mod sequences;
mod slots;
mod socket;
mod states;
mod stops;
mod streams;

use std::process::ExitCode;

use rapace_core::descriptor::Kind;
use rapace_session::{Features, Hello, LIFECYCLE_METHODS};
use rapace_tests::hostile::Hostile;
use rapace_tests::method;

use crate::raw::{Raw, Received, answer_header, hello, request_header};
use crate::{Failure, broken};

/// What a plugin prints once the host has a session with it.
const BEGINS: &str = "hostile: begins";
/// The last index of a channel that the host of the tests takes.
const LAST_INDEX: u32 = 63;

/// Behaves as the arguments say: a name, and a seed for what is random.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode, Failure> {
    let name = arguments.first().ok_or("no behaviour")?;
    if name == socket::CHILD {
        return socket::hold().map(|()| ExitCode::SUCCESS);
    }
    let behaviour = Hostile::from_name(name).ok_or_else(|| format!("no behaviour {name:?}"))?;
    let seed = arguments.get(1).map_or(Ok(1), |seed| seed.parse())?;
    act(behaviour, seed).map(|()| ExitCode::SUCCESS)
}

fn act(behaviour: Hostile, seed: u64) -> Result<(), Failure> {
    use Hostile::*;
    match behaviour {
        IsOfAnotherVersion | IsInTheWrongRole | TakesTooManyCalls | BreaksItsRegistry | Babbles | SaysAHugeHello
        | SaysHelloTwice | CallsBeforeItsHello | HasAnotherNonce | IsSilent => {
            broken::run(&behaviour.name().replace('_', "-")).map(drop)
        }
        SaysHelloWithoutEnd => greetings::say_hello_without_end(),
        SaysHelloInNothing => greetings::say_hello_in_nothing(),
        RefusesAtLength => greetings::refuse(&[b'n'; 1025]),
        RefusesInNoLanguage => greetings::refuse(&[0xff; 8]),
        OffersBack => greetings::offer_back(),
        StopsBehindTheOffer => greetings::stop_behind_the_offer(),
        StopsAmidItsHello => greetings::stop_amid_the_hello(),
        StopsBehindItsHello => greetings::stop_behind_the_hello(),
        ClaimsToTakeNothing => greetings::claim_to_take_nothing(),
        _ => act_in_session(behaviour, seed, &mut open()?),
    }
}

fn act_in_session(behaviour: Hostile, seed: u64, raw: &mut Raw) -> Result<(), Failure> {
    use Hostile::*;
    match behaviour {
        ScribblesEverywhere => memory::scribble_everywhere(raw, seed),
        ScribblesInItsHeader => memory::scribble_in_the_header(raw, seed),
        ScribblesInItsRing => memory::scribble_in_the_ring(raw, seed),
        ScribblesInItsReturns => memory::scribble_in_the_returns(raw, seed),
        ScribblesInItsSlots => memory::scribble_in_slots(raw, seed),
        TearsItsDescriptors => memory::tear_descriptors(raw, seed),
        ChangesPayloads => memory::change_payloads(raw),
        PunchesHoles => memory::punch_holes(raw),

        JumpsAhead => sequences::store(raw, |due, _| due + 1),
        Rewinds => sequences::store(raw, |due, lap| due.saturating_sub(2 * lap).max(1)),
        RepeatsItself => sequences::store(raw, |due, _| due - 1),
        IsALapAhead => sequences::store(raw, |due, lap| due + lap),
        ClaimsProgress => sequences::announce(raw, u64::MAX),
        TakesProgressBack => sequences::announce(raw, 1),

        ReplaysASlot => slots::replay(raw),
        OverlapsItsSlots => slots::overlap(raw),
        NamesNoSlot => slots::answer_from(raw, u32::MAX - 1, 100),
        RunsPastItsEnd => slots::answer_from(raw, 0, u32::MAX),
        ReturnsNothingOfItsOwn => returns::return_nothing(raw),
        ReturnsTwice => returns::return_twice(raw),
        ReturnsAnotherGeneration => returns::return_another_generation(raw),
        ReturnsALapAhead => returns::return_a_lap_ahead(raw),
        NeverReturns => returns::never_return(raw),

        FloodsPings => floods::pings(raw),
        FloodsPongs => floods::pongs(raw),
        FloodsCancels => floods::cancels(raw),
        FloodsGrants => floods::grants(raw),
        FloodsCredit => floods::credit(raw),
        FloodsGoAways => floods::go_aways(raw),
        FloodsEnds => floods::ends(raw),
        RingsAtEachSleep => floods::ring_at_each_sleep(raw),
        RingsWithoutEnd => floods::ring_without_end(raw),
        FloodsUnknownMethods => floods::unknown_methods(raw),

        SendsNoBell => socket::send(raw, &[9, 9, 9]),
        SendsNothing => socket::send(raw, &[]),
        SendsTooMuch => socket::send(raw, &[1; 1 << 16]),
        Refuses => socket::refuse(raw),
        SendsDescriptors => socket::send_descriptors(raw, 250),
        SendsItsHalves => socket::send_descriptors(raw, 2),
        LingersOverDescriptors => socket::linger(raw),
        ClosesItsSocket => socket::close(raw),
        StopsListening => socket::stop_listening(raw),
        LeavesAChild => socket::leave_a_child(raw),

        CallsAndCancels => requests::call_and_cancel(raw),
        CallsTooMuch => requests::call_too_much(raw),
        CallsOnABusyChannel => requests::call_on_a_busy_channel(raw),
        CallsWithoutGeneration => requests::call_without_generation(raw),
        NestsTooDeep => requests::nest_too_deep(raw),
        NestsWithoutEnd => requests::nest_without_end(raw),
        SendsPiecesWithoutEnd => requests::send_pieces_without_end(raw),
        SendsEmptyPieces => requests::send_empty_pieces(raw),
        BreaksAMessageOff => requests::break_a_message_off(raw),
        SendsHugeMetadata => requests::send_metadata(raw, &u32::MAX.to_le_bytes()),
        SendsBrokenMetadata => requests::send_metadata(raw, &[5, 0, 0, 0, 1, 0, b'A', 0, 0]),
        HasAllTheTime => requests::have_all_the_time(raw),
        CallsLifecycle => requests::call_a_lifecycle_method(raw),

        SendsItemsWithoutCredit => streams::send_items_without_credit(raw),
        SendsItemsBehindTheEnd => streams::send_items_behind_the_end(raw),
        OverflowsCredit => streams::overflow_credit(raw),
        GrantsNobody => streams::grant_nobody(raw),
        OpensStreams => streams::open_and_leave(raw),
        AnswersStreamsWithNothing => streams::send_empty_items(raw),
        StopsAmidAnItem => streams::stop_amid_an_item(raw),

        NeverAnswers => raw_loop(raw, |_, _| Ok(())),
        AnswersTwice => answers::twice(raw),
        AnswersAnotherMethod => answers::of_another_method(raw),
        AnswersEarly => answers::early(raw),
        AnswersNobody => answers::to_nobody(raw),
        AnswersWithItems => answers::with_items(raw),
        AnswersTooMuch => answers::too_much(raw),
        AnswersWithoutEnd => answers::without_end(raw),
        FailsInNoLanguage => answers::in_no_language(raw),

        NeverReads => states::never_read(raw),
        BeatsWithoutProgress => states::beat_without_progress(raw),
        SpinsSilently => states::spin_silently(raw),
        JumpsItsStates => states::jump(raw),
        SaysNoState => states::say_none(raw),
        ClosesAndGoesOn => states::close_and_go_on(raw),

        StopsAmidADescriptor => stops::amid_a_descriptor(raw),
        StopsAmidAnAnswer => stops::amid_an_answer(raw),
        StopsWithSlots => stops::with_slots(raw),

        TriesTheKernel => kernel::try_all(raw),
        FloodsItsOutput => output::flood(raw),
        other => Err(format!("{other:?} needs no session").into()),
    }
}

/// A session with a host that takes this plugin for started.
fn open() -> Result<Raw, Failure> {
    let mut raw = Raw::open_with(&Hello { features: Features::STREAMS, ..hello() })?;
    begin(&mut raw)?;
    Ok(raw)
}

/// Answers `initialize`, and sees to it that the host has taken the answer.
fn begin(raw: &mut Raw) -> Result<(), Failure> {
    raw.returns_slots = true;
    let request = raw.receive_request()?;
    if request.method != LIFECYCLE_METHODS[0] {
        return Err(format!("initialize was due, but the host sent {request:?}").into());
    }
    answer(raw, &request, b"");
    raw.send(&request_header(LAST_INDEX, method::ECHO), b"");
    while raw.receive()?.kind != Kind::Reply.raw() {}
    println!("{BEGINS}");
    Ok(())
}

/// Answers with these bytes, as a good plugin would.
fn answer(raw: &mut Raw, request: &Received, bytes: &[u8]) {
    raw.send(&answer_header(request, Kind::Reply), bytes);
}

/// Does something about each request of the host.
fn raw_loop(raw: &mut Raw, mut handle: impl FnMut(&mut Raw, &Received) -> Result<(), Failure>) -> Result<(), Failure> {
    loop {
        let request = raw.receive_request()?;
        handle(raw, &request)?;
    }
}

/// Answers each request with nothing.
fn answer_all(raw: &mut Raw) -> Result<(), Failure> {
    raw_loop(raw, |raw, request| {
        answer(raw, request, b"");
        Ok(())
    })
}

/// Does nothing until the host goes: takes nothing, sends nothing.
fn idle(raw: &Raw) -> Result<(), Failure> {
    while !raw.fake.socket.drain(64)?.ended {
        raw.fake.socket.wait(None, None)?;
    }
    Ok(())
}
