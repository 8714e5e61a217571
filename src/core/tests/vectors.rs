//! The converter makes of every golden vector's body the message that the vector says.
//!
//! The vectors come from a reference converter in another language, so that nothing is checked against itself.

use std::fs;
use std::path::{Path, PathBuf};

use jimbot_core::convert::{BodyCursor, BodyForm, Context, Converter, Step};
use jimbot_proto::FILE_DESCRIPTOR_SET;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::Value;

/// What the vectors' events got when they were stored.
const CONTEXT: Context<'static> = Context {
    log_epoch: 0x1122_3344_5566_7788,
    sequence: 1,
    receive_time_unix_ns: 1_795_327_244_123_456_789,
    session: 0x5E_5510,
    game_key: 0x6A3E,
    sender: 0,
    lenient: false,
    event_bytes_max: 1 << 20,
    nesting_max: 64,
    path: b"",
    content_type: b"",
    user_agent: b"",
};

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors")
}

fn batch_descriptor() -> MessageDescriptor {
    DescriptorPool::decode(FILE_DESCRIPTOR_SET)
        .expect("the descriptor is whole")
        .get_message_by_name("jimbot.events.v1.EventBatch")
        .expect("the schema has EventBatch")
}

/// Canonical JSON: it tells field from field, and NaN is equal to itself there.
fn as_json(descriptor: &MessageDescriptor, bytes: &[u8]) -> Value {
    let message = DynamicMessage::decode(descriptor.clone(), bytes).expect("an EventBatch");
    let options = SerializeOptions::new().use_proto_field_name(true);
    message
        .serialize_with_options(serde_json::value::Serializer, &options)
        .expect("a message is JSON")
}

fn convert(body: &[u8], lenient: bool) -> Vec<u8> {
    let mut converter = Converter::new();
    let mut cursor = BodyCursor::new(BodyForm::Message);
    let mut context = Context { lenient, ..CONTEXT };
    let mut room = vec![0; 1 << 20];
    let mut batch = Vec::new();
    loop {
        match converter.next(&mut cursor, body, &context, &mut room) {
            Step::Event(event) => {
                batch.extend_from_slice(&room[..event.element_len]);
                context.sequence += 1;
            }
            Step::Done(_) => return batch,
            Step::NoRoom => panic!("no room in a mebibyte"),
            Step::Refused(refusal) => panic!("refused: {refusal:?}"),
        }
    }
}

#[test]
fn the_converter_agrees_with_every_vector() {
    let descriptor = batch_descriptor();
    let manifest = fs::read(vectors().join("manifest.json")).expect("the vectors have a manifest");
    let manifest: Value = serde_json::from_slice(&manifest).expect("the manifest is JSON");
    let mut compared = 0;
    let mut differing = Vec::new();
    for row in manifest.as_array().expect("the manifest is a list") {
        if row["from_json"] != Value::Bool(true) {
            continue;
        }
        let name = row["name"].as_str().expect("a vector has a name");
        let body = fs::read(vectors().join(format!("{name}.json"))).expect("a vector has a body");
        let bytes = fs::read(vectors().join(format!("{name}.binpb"))).expect("a vector has bytes");
        let found = convert(&body, row["lenient"] == Value::Bool(true));
        let (found, expected) = (as_json(&descriptor, &found), as_json(&descriptor, &bytes));
        if found != expected {
            differing.push(format!(
                "{name}: {}\n  found    {found}\n  expected {expected}",
                row["about"]
            ));
        }
        compared += 1;
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
    assert!(compared >= 80, "only {compared} vectors come from JSON");
}

#[test]
fn an_older_client_is_told_what_its_event_lacks() {
    for (body, lacking) in [
        (r#"{"timestamp":1.5,"game_id":"g","data":{}}"#, "type"),
        (r#"{"type":"hand_played","game_id":"g","data":{}}"#, "timestamp"),
        (r#"{"type":"hand_played","timestamp":1.5,"data":{}}"#, "game_id"),
    ] {
        let mut cursor = BodyCursor::new(BodyForm::Message);
        let mut room = vec![0; 4096];
        match Converter::new().next(&mut cursor, body.as_bytes(), &CONTEXT, &mut room) {
            Step::Refused(refusal) => {
                assert_eq!((refusal.field.as_str(), refusal.reason.as_str()), (lacking, "missing"));
            }
            other => panic!("{body} came to {other:?}"),
        }
        assert!(!convert(body.as_bytes(), true).is_empty(), "a lenient sender is never refused");
    }
}
