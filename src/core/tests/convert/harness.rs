//! Runs bodies through the converter and checks what every output must hold.

use jimbot_core::convert::{
    BinaryCursor, BodyCursor, BodyForm, BodySummary, Context, Converted, Converter, Refusal, Step,
};
use jimbot_proto::events::v1::{Event, EventBatch};
use prost::Message as _;

/// Identity that every test event gets, so that the tests can tell it apart.
pub(crate) const EPOCH: u64 = 0x0102_0304_0506_0708;
pub(crate) const SESSION: u64 = 0x1112_1314_1516_1718;
pub(crate) const GAME: u64 = 0x2122_2324_2526_2728;
pub(crate) const RECEIVED: u64 = 1_795_327_244_123_456_789;

/// One converted event: what the converter says of it, its element, its message.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) facts: Converted,
    pub(crate) element: Vec<u8>,
    pub(crate) event: Event,
}

impl Got {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.element[self.facts.event_offset..]
    }

    pub(crate) fn text(&self, range: &std::ops::Range<usize>) -> &str {
        std::str::from_utf8(&self.element[range.clone()]).expect("facts point at UTF-8")
    }
}

/// What a whole body came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) events: Vec<Got>,
    pub(crate) refusals: Vec<Refusal>,
    pub(crate) summary: BodySummary,
}

pub(crate) fn context(lenient: bool) -> Context<'static> {
    Context {
        log_epoch: EPOCH,
        sequence: 7,
        receive_time_unix_ns: RECEIVED,
        session: SESSION,
        game_key: GAME,
        lenient,
        ..Context::default()
    }
}

/// Converts a body with a converter of its own.
pub(crate) fn convert(form: BodyForm, lenient: bool, body: &[u8]) -> Outcome {
    convert_with(&mut Converter::new(), BodyCursor::new(form), &context(lenient), body)
}

/// The mod's treatment, an event or more.
pub(crate) fn mod_events(body: &[u8]) -> Outcome {
    convert(BodyForm::Events, true, body)
}

/// The one event of a body.
pub(crate) fn one(body: &[u8]) -> Got {
    let mut outcome = mod_events(body);
    assert_eq!(outcome.events.len(), 1, "{:?}: {outcome:?}", String::from_utf8_lossy(body));
    outcome.events.remove(0)
}

pub(crate) fn convert_with(
    converter: &mut Converter,
    mut cursor: BodyCursor,
    context: &Context<'_>,
    body: &[u8],
) -> Outcome {
    let mut room = vec![0xEE; context.event_bytes_max];
    let mut outcome = Outcome::default();
    let mut context = *context;
    // Each step goes on by a byte at least.
    for _ in 0..body.len() + 100 {
        match converter.next(&mut cursor, body, &context, &mut room) {
            Step::Event(facts) => {
                outcome.events.push(examine(facts, &room, &context));
                context.sequence += 1;
            }
            Step::Refused(refusal) => outcome.refusals.push(refusal),
            Step::NoRoom => panic!("room for the largest event is room for any"),
            Step::Done(summary) => {
                assert_eq!(summary.events as usize, outcome.events.len());
                assert_eq!(summary.refused as usize, outcome.refusals.len());
                outcome.summary = summary;
                return outcome;
            }
        }
    }
    panic!("no end of {:?}", String::from_utf8_lossy(&body[..body.len().min(500)]));
}

/// The same for a binary message of a sender that is told.
pub(crate) fn convert_binary(message: &[u8]) -> Outcome {
    convert_binary_as(false, message)
}

/// The same for a binary message.
pub(crate) fn convert_binary_as(lenient: bool, message: &[u8]) -> Outcome {
    convert_binary_with(BinaryCursor::new(), &context(lenient), message)
}

pub(crate) fn convert_binary_with(
    mut cursor: BinaryCursor,
    context: &Context<'_>,
    message: &[u8],
) -> Outcome {
    let mut converter = Converter::new();
    let mut room = vec![0; context.event_bytes_max];
    let mut outcome = Outcome::default();
    // Each step goes on by a byte at least.
    for _ in 0..message.len() + 100 {
        match converter.next_binary(&mut cursor, message, context, &mut room) {
            Step::Event(facts) => outcome.events.push(examine(facts, &room, context)),
            Step::Refused(refusal) => outcome.refusals.push(refusal),
            Step::NoRoom => panic!("room for the largest event is room for any"),
            Step::Done(summary) => {
                assert_eq!(summary.events as usize, outcome.events.len());
                assert_eq!(summary.refused as usize, outcome.refusals.len());
                outcome.summary = summary;
                return outcome;
            }
        }
    }
    panic!("no end of {message:?}");
}

/// What holds for every element, whatever came in.
fn examine(facts: Converted, room: &[u8], context: &Context<'_>) -> Got {
    let element = room[..facts.element_len].to_vec();
    let batch = EventBatch::decode(element.as_slice()).expect("an element is a batch of one");
    assert_eq!(batch.events.len(), 1);
    let bytes = &element[facts.event_offset..];
    assert_eq!(facts.entry.length as usize, bytes.len());
    let event = Event::decode(bytes).expect("an event parses whole");
    assert_eq!(event.log_epoch, context.log_epoch);
    assert_eq!(event.sequence, context.sequence);
    assert_eq!(event.receive_time_unix_ns, context.receive_time_unix_ns);
    assert_eq!(event.session, context.session);
    assert_eq!(event.game_key, context.game_key);
    assert_eq!(u16::try_from(event.r#type).ok(), Some(facts.entry.event_type));
    let text = |range: &std::ops::Range<usize>| {
        std::str::from_utf8(&element[range.clone()]).expect("facts point at UTF-8").to_owned()
    };
    assert_eq!(event.event_id.clone().unwrap_or_default(), text(&facts.event_id));
    assert_eq!(event.producer.clone().unwrap_or_default(), text(&facts.producer));
    assert_eq!(event.producer_sequence, facts.producer_sequence);
    let state_id = match &event.payload {
        Some(jimbot_proto::events::v1::event::Payload::GameState(state)) => {
            state.base.as_ref().and_then(|base| base.game_id.clone())
        }
        _ => None,
    };
    if event.game_id.as_ref().is_some_and(|id| !id.is_empty()) {
        assert_eq!(event.game_id.clone().unwrap_or_default(), text(&facts.game_id));
    } else if let Some(id) = state_id {
        assert_eq!(id, text(&facts.game_id));
    }
    if facts.entry.producer_time.is_nan() {
        assert!(event.producer_time == 0.0 || event.producer_time.is_nan());
    } else {
        assert_eq!(facts.entry.producer_time.to_bits(), event.producer_time.to_bits());
    }
    let mut patched = element.clone();
    let mut copy = facts.clone();
    copy.patch_session(&mut patched, 1);
    copy.patch_game_key(&mut patched, 2);
    let event_after = Event::decode(&patched[facts.event_offset..]).expect("patched in place");
    assert_eq!((event_after.session, event_after.game_key), (1, 2));
    Got { facts, element, event }
}
