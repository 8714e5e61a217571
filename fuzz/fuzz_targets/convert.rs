//! Any bytes as a body, in every form, for every kind of sender: nothing panics, every output
//! parses whole, nothing is refused that must not be, and what came before is converted as it was the first time.
#![no_main]

use jimbot_core::convert::{BinaryCursor, BodyCursor, BodyForm, Context, Converter, Step};
use jimbot_proto::events::v1::EventBatch;
use libfuzzer_sys::fuzz_target;
use prost::Message as _;

fuzz_target!(|input: &[u8]| {
    let Some((&choice, body)) = input.split_first() else { return };
    let context = Context { lenient: choice & 1 == 1, ..Context::default() };
    let mut converter = Converter::new();
    let mut room = vec![0; context.event_bytes_max];
    let take = |event_len: usize, room: &[u8]| {
        EventBatch::decode(&room[..event_len]).expect("every output parses whole");
    };
    if choice & 0b1000 != 0 {
        let mut cursor = BinaryCursor::new();
        loop {
            match converter.next_binary(&mut cursor, body, &context, &mut room) {
                Step::Event(event) => take(event.element_len, &room),
                Step::Refused(refusal) => assert!(!context.lenient, "{refusal:?}"),
                Step::NoRoom => panic!("room for the largest event is room for any"),
                Step::Done(_) => return,
            }
        }
    }
    let form = [BodyForm::Events, BodyForm::Batch, BodyForm::Message][usize::from(choice >> 1) % 3];
    let mut all = |converter: &mut Converter| {
        let mut cursor = BodyCursor::new(form);
        let (mut events, mut refused) = (Vec::new(), 0);
        loop {
            match converter.next(&mut cursor, body, &context, &mut room) {
                Step::Event(event) => {
                    take(event.element_len, &room);
                    events.push(room[..event.element_len].to_vec());
                }
                Step::Refused(refusal) => {
                    assert!(!context.lenient, "{refusal:?}");
                    refused += 1;
                }
                Step::NoRoom => panic!("room for the largest event is room for any"),
                Step::Done(_) => return (events, refused),
            }
        }
    };
    let expected = all(&mut Converter::with_span_bytes(0));
    // A list is kept when it comes for the second time, and copied from the third on.
    for _ in 0..3 {
        assert_eq!(all(&mut converter), expected);
    }
});
