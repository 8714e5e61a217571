//! Messages of protobuf that are broken, too long or cut: the mod's are stored as they came, others are told.

use jimbot_core::convert::{BinaryCursor, BodyForm, Context, Converter, Step};
use jimbot_core::log::flags;
use jimbot_proto::events::v1::event::Payload;
use jimbot_proto::events::v1::{ErrorEvent, Event, EventBatch, EventType, UnreadableEvent};
use prost::Message as _;

use crate::harness::{Got, Outcome, context, convert, convert_binary_as, convert_binary_with};

const UNREADABLE: i32 = EventType::UnreadableBody as i32;
const TRUNCATED: i32 = EventType::TruncatedBody as i32;
const HEARTBEAT: i32 = EventType::Heartbeat as i32;

fn good() -> Vec<u8> {
    let event = Event { r#type: HEARTBEAT, event_id: Some("good".to_owned()), ..Event::default() };
    event.encode_to_vec()
}

/// An event of the batch with these bytes, whatever they are.
fn element(bytes: &[u8]) -> Vec<u8> {
    let mut element = vec![0x0A];
    prost::encoding::encode_varint(bytes.len() as u64, &mut element);
    element.extend_from_slice(bytes);
    element
}

fn types(outcome: &Outcome) -> Vec<i32> {
    outcome.events.iter().map(|got| got.event.r#type).collect()
}

fn unreadable(got: &Got) -> &UnreadableEvent {
    let Some(Payload::Unreadable(told)) = &got.event.payload else { panic!("{got:?}") };
    assert_ne!(got.facts.entry.flags & flags::UNREADABLE, 0);
    told
}

fn reasons(outcome: &Outcome) -> Vec<(u32, &str)> {
    let refusals = outcome.refusals.iter();
    refusals.map(|told| (told.index, told.reason.as_str())).collect()
}

#[test]
fn a_message_that_is_no_protobuf_is_stored_as_it_came() {
    for (message, reason) in [
        (&b"\xff\xff\xff"[..], "ends inside a number"),
        (b"{\"type\":\"HEARTBEAT\"}", "a group, which no message here has"),
        (b"\x0a\x05a", "ends inside a field"),
        (b"\x19\x01\0\0\0\0\0\0\0", "a field of another wire type"),
        (b"\x22\x01\xff", "a text that is not UTF-8"),
    ] {
        let request = Context {
            path: b"/ws",
            content_type: b"application/x-protobuf",
            user_agent: b"BalatroMCP/1",
            ..context(true)
        };
        let got = convert_binary_with(BinaryCursor::new(), &request, message);
        assert_eq!(types(&got), [UNREADABLE], "{message:?}");
        assert_eq!((got.summary.events, got.summary.unreadable, got.summary.refused), (1, 1, 0));
        let told = unreadable(&got.events[0]);
        assert_eq!((&told.raw[..], told.offset), (message, Some(0)));
        assert_eq!(
            (told.length, told.error.as_deref()),
            (Some(message.len() as u64), Some(reason))
        );
        assert_eq!(told.path.as_deref(), Some("/ws"));
        assert_eq!(told.content_type.as_deref(), Some("application/x-protobuf"));
        assert_eq!(told.user_agent.as_deref(), Some("BalatroMCP/1"));
        let strict = convert_binary_as(false, message);
        assert_eq!((types(&strict), reasons(&strict)), (vec![], vec![(0, reason)]));
    }
}

#[test]
fn a_broken_event_of_a_batch_takes_no_other_with_it() {
    let broken = b"\x22\x01\xff";
    let message = [element(&good()), element(broken), element(&good())].concat();
    let got = convert_binary_as(true, &message);
    assert_eq!(types(&got), [HEARTBEAT, UNREADABLE, HEARTBEAT]);
    let told = unreadable(&got.events[1]);
    assert_eq!((&told.raw[..], told.events_kept), (&broken[..], Some(1)));
    let start = element(&good()).len() + 2;
    assert_eq!((told.offset, told.length), (Some(start as u64), Some(3)));
    let strict = convert_binary_as(false, &message);
    assert_eq!(types(&strict), [HEARTBEAT, HEARTBEAT]);
    assert_eq!(reasons(&strict), [(1, "a text that is not UTF-8")]);
}

#[test]
fn of_a_cut_batch_the_whole_events_are_kept_and_the_rest_as_it_came() {
    let one = element(&good());
    let message = [&one[..], &one, &one].concat();
    for at in 1..message.len() {
        let (whole, rest) = (at / one.len(), at % one.len());
        let got = convert_binary_as(true, &message[..at]);
        let mut expected = vec![HEARTBEAT; whole];
        if rest > 0 {
            expected.push(UNREADABLE);
            let told = unreadable(&got.events[whole]);
            assert_eq!(told.raw, message[at - rest..at]);
            assert_eq!(
                (told.offset, told.events_kept),
                (Some((at - rest) as u64), Some(whole as u64))
            );
        }
        assert_eq!(types(&got), expected, "{at}");
        // The same of a body past the limit, where the rest was never kept.
        let cursor = BinaryCursor::new().cut(9_999_999);
        let got = convert_binary_with(cursor, &context(true), &message[..at]);
        expected.truncate(whole);
        expected.push(TRUNCATED);
        assert_eq!(types(&got), expected, "{at}");
        let told = unreadable(&got.events[whole]);
        assert_eq!((&told.raw[..], told.length), (&message[at - rest..at], Some(9_999_999)));
    }
}

#[test]
fn an_event_past_the_limit_is_never_taken_for_a_whole_one() {
    // Cut between two fields, it reads well.
    let start = Event { r#type: HEARTBEAT, ..Event::default() }.encode_to_vec();
    let cursor = BinaryCursor::new().cut(9_999_999);
    let got = convert_binary_with(cursor, &context(true), &start);
    assert_eq!(types(&got), [TRUNCATED]);
    assert_eq!(unreadable(&got.events[0]).raw, start);
}

#[test]
fn what_follows_no_length_is_kept_though_it_is_longer_than_an_event_may_be() {
    let rest = [b"\x12".to_vec(), vec![0x7F; 400_000]].concat();
    let message = [element(&good()), rest.clone()].concat();
    let small = Context { event_bytes_max: 150_000, ..context(true) };
    let got = convert_binary_with(BinaryCursor::new(), &small, &message);
    assert_eq!(types(&got), [HEARTBEAT, UNREADABLE, UNREADABLE, UNREADABLE]);
    let mut whole = Vec::new();
    for got in &got.events[1..] {
        let told = unreadable(got);
        assert_eq!(told.offset, Some((message.len() - rest.len() + whole.len()) as u64));
        assert_eq!((told.length, told.events_kept), (Some(rest.len() as u64), Some(1)));
        whole.extend_from_slice(&told.raw);
    }
    assert_eq!(whole, rest);
}

#[test]
fn an_event_that_fits_no_batch_leaves_its_length_and_its_start() {
    let payload = ErrorEvent { message: Some("x".repeat(300_000)), ..ErrorEvent::default() };
    let big = Event {
        r#type: EventType::Error as i32,
        payload: Some(Payload::Error(payload)),
        ..Event::default()
    };
    let big = big.encode_to_vec();
    let message = [element(&good()), element(&big), element(&good())].concat();
    let small = Context { event_bytes_max: 150_000, ..context(true) };
    let got = convert_binary_with(BinaryCursor::new(), &small, &message);
    assert_eq!(types(&got), [HEARTBEAT, TRUNCATED, HEARTBEAT]);
    let told = unreadable(&got.events[1]);
    assert_eq!((told.length, told.raw.len()), (Some(big.len() as u64), 64 * 1024));
    assert!(big.starts_with(&told.raw));
    let strict = Context { lenient: false, ..small };
    let got = convert_binary_with(BinaryCursor::new(), &strict, &message);
    assert_eq!(types(&got), [HEARTBEAT, HEARTBEAT]);
    assert_eq!(reasons(&got), [(1, "the event takes more than 150000 bytes")]);
}

#[test]
fn what_has_no_room_comes_with_the_next_batch() {
    let message = [&element(&good())[..], b"\x22\x01\xff"].concat();
    let context = context(true);
    let (mut converter, mut cursor) = (Converter::new(), BinaryCursor::new());
    let mut room = vec![0; context.event_bytes_max];
    let first = converter.next_binary(&mut cursor, &message, &context, &mut room);
    assert!(matches!(first, Step::Event(_)), "{first:?}");
    for size in 0..100 {
        let step = converter.next_binary(&mut cursor, &message, &context, &mut room[..size]);
        assert!(matches!(step, Step::NoRoom), "{size}: {step:?}");
    }
    let Step::Event(event) = converter.next_binary(&mut cursor, &message, &context, &mut room)
    else {
        panic!("there is room")
    };
    let batch = EventBatch::decode(&room[..event.element_len]).expect("it parses whole");
    assert_eq!(batch.events[0].r#type, UNREADABLE);
    let end = converter.next_binary(&mut cursor, &message, &context, &mut room);
    assert!(matches!(end, Step::Done(_)), "{end:?}");
}

#[test]
fn what_was_stored_as_unreadable_json_can_be_sent_on_as_protobuf() {
    let first = convert(BodyForm::Events, true, b"{broken");
    let again = convert_binary_as(false, first.events[0].bytes());
    assert_eq!(types(&again), [UNREADABLE]);
}
