//! The table of event types is whole and consistent, and what other programs rely on stays.

use std::collections::HashSet;

use jimbot_proto::events::v1::{self, EventBatch, EventType, PublishBatchRequest, event};
use jimbot_proto::{EVENT_TYPES, event_spec};
use prost::Message as _;

#[test]
fn every_type_has_a_row_and_every_name_means_one_type() {
    let mut names = HashSet::new();
    for spec in EVENT_TYPES {
        assert_eq!(event_spec(spec.event_type as i32), Some(spec));
        assert_eq!(spec.names.is_empty(), spec.event_type == EventType::Unknown, "{spec:?}");
        assert_eq!(spec.payload_field == 0, spec.event_type == EventType::Unknown, "{spec:?}");
        for name in spec.names {
            assert!(names.insert(name), "{name} stands in two rows");
        }
    }
    assert_eq!(event_spec(EventType::Unspecified as i32), None);
    assert_eq!(event_spec(999), None);
}

#[test]
fn topics_are_lower_case_words_and_tell_types_apart() {
    let mut topics = HashSet::new();
    for spec in EVENT_TYPES {
        let words: Vec<&str> = spec.topic.split('.').collect();
        assert!(words.len() >= 2, "{spec:?}");
        for word in words {
            assert!(!word.is_empty(), "{spec:?}");
            assert!(word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{spec:?}");
        }
        assert!(topics.insert(spec.topic), "{} is the topic of two types", spec.topic);
    }
}

#[test]
fn an_event_type_and_a_hot_field_take_one_byte() {
    for spec in EVENT_TYPES {
        assert!((spec.event_type as i32) < 128, "{spec:?}");
    }
    let event = v1::Event {
        payload: Some(event::Payload::Scoring(v1::ScoringEvent {
            score_contribution: Some(1.0),
            ..Default::default()
        })),
        ..Default::default()
    };
    // Tag and length of the payload, tag and eight bytes of the number.
    assert_eq!(event.encoded_len(), 2 + 9);
}

#[test]
fn a_batch_in_a_request_is_the_batch_as_it_lies_in_the_log() {
    let event =
        v1::Event { sequence: 7, r#type: EventType::HandPlayed as i32, ..Default::default() };
    let batch = EventBatch { events: vec![event.clone(), event] };
    let bytes = batch.encode_to_vec();
    let request = PublishBatchRequest { batch: bytes.clone().into(), ack_level: 2 };
    let wire = request.encode_to_vec();
    let mut expected = vec![0x0A, u8::try_from(bytes.len()).expect("a short batch")];
    expected.extend_from_slice(&bytes);
    expected.extend_from_slice(&[0x10, 2]);
    assert_eq!(wire, expected);
    assert_eq!(EventBatch::decode(request.batch), Ok(batch));
}

#[test]
fn infinity_and_nan_pass_through() {
    let payload = v1::ScoreChangedEvent {
        old_chips: Some(f64::INFINITY),
        new_chips: Some(f64::NAN),
        ..Default::default()
    };
    let back =
        v1::ScoreChangedEvent::decode(payload.encode_to_vec().as_slice()).expect("the same bytes");
    assert_eq!(back.old_chips, Some(f64::INFINITY));
    assert!(back.new_chips.is_some_and(f64::is_nan));
    assert_eq!(back.new_mult, None);
}
