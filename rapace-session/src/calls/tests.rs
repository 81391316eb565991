//! The table by itself: what there is to take of a call.

use super::*;

#[test]
fn an_outcome_is_there_for_its_own_key_until_it_is_taken() {
    let (mut table, mut kept, mut wakes) = (CallTable::new(Side::A, 4), 0, Vec::new());
    let [lost, answered] = [1, 2].map(|method| table.open(method, 0, None).unwrap().0);
    assert!(!table.has_outcome(lost) && !table.has_answer(lost));
    table.fail_one(lost, CallError::WouldBlock, &mut kept, &mut wakes).unwrap();
    assert!(table.has_outcome(lost) && !table.has_answer(lost), "that is no answer");
    assert!(!table.has_outcome(answered));
    let status = CallError::Status(Status::new(Code::NotFound, "no"));
    table.fail_one(answered, status, &mut kept, &mut wakes).unwrap();
    assert!(table.has_outcome(answered) && table.has_answer(answered));
    table.take(answered, &mut kept, &mut wakes).unwrap().unwrap_err();
    assert!(!table.has_outcome(answered) && !table.has_answer(answered));
    // The next call has its place.
    let next = table.open(3, 0, None).unwrap().0;
    assert_eq!(next.ticket, answered.ticket);
    let status = CallError::Status(Status::new(Code::NotFound, "no"));
    table.fail_one(next, status, &mut kept, &mut wakes).unwrap();
    assert!(table.has_answer(next) && !table.has_outcome(answered) && !table.has_answer(answered));
}
