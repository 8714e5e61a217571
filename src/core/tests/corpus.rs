//! Bodies that are odd, broken, cut or hostile: what becomes of each is in the tree.
//!
//! `tests/corpus/bodies/NAME` is a body, `tests/corpus/expected/NAME.json` says what a sender that is told gets
//! (`strict`: events taken, and index and field of each refusal) and which events a lenient sender's body becomes
//! (`lenient`: canonical JSON without what the service adds). `python/tests/test_corpus.py` posts the same bodies to the
//! real service. After a deliberate change `JIMBOT_WRITE_CORPUS=1 cargo test -p jimbot-core --test corpus` writes the
//! expectations anew; look at the difference before it is kept.

use std::fs;
use std::path::{Path, PathBuf};

use jimbot_core::convert::{BodyCursor, BodyForm, Context, Converter, Refusal, Step};
use jimbot_proto::FILE_DESCRIPTOR_SET;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::{Value, json};

/// As the service sees the mod's posts.
const CONTEXT: Context<'static> = Context {
    log_epoch: 1,
    sequence: 1,
    receive_time_unix_ns: 1,
    session: 1,
    game_key: 1,
    sender: 0,
    lenient: false,
    event_bytes_max: 1 << 20,
    nesting_max: jimbot_core::limits::NESTING_MAX as u32,
    path: b"/api/v1/events",
    content_type: b"application/json",
    user_agent: b"BalatroMCP/1.0",
};

/// What the service adds to an event.
const ADDED: [&str; 5] = ["log_epoch", "sequence", "receive_time_unix_ns", "session", "game_key"];

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus")
}

fn batch_descriptor() -> MessageDescriptor {
    DescriptorPool::decode(FILE_DESCRIPTOR_SET)
        .expect("the descriptor is whole")
        .get_message_by_name("jimbot.events.v1.EventBatch")
        .expect("the schema has EventBatch")
}

/// The events that a body becomes, as elements of an `EventBatch`, and what was refused of it.
fn convert(body: &[u8], lenient: bool) -> (Vec<u8>, usize, Vec<Refusal>) {
    let mut converter = Converter::new();
    let mut cursor = BodyCursor::new(BodyForm::Events);
    let mut context = Context { lenient, ..CONTEXT };
    let mut room = vec![0; context.event_bytes_max];
    let (mut batch, mut events, mut refusals) = (Vec::new(), 0, Vec::new());
    loop {
        match converter.next(&mut cursor, body, &context, &mut room) {
            Step::Event(event) => {
                batch.extend_from_slice(&room[..event.element_len]);
                context.sequence += 1;
                events += 1;
            }
            Step::Refused(refusal) => refusals.push(refusal),
            Step::NoRoom => panic!("room for the largest event is room for any"),
            Step::Done(_) => return (batch, events, refusals),
        }
    }
}

fn outcome(descriptor: &MessageDescriptor, body: &[u8]) -> Value {
    let (_, taken, refusals) = convert(body, false);
    let refused: Vec<Value> = refusals.iter().map(|told| json!([told.index, told.field])).collect();
    let (batch, _, refusals) = convert(body, true);
    assert!(refusals.is_empty(), "a lenient sender is never refused: {refusals:?}");
    let message = DynamicMessage::decode(descriptor.clone(), &batch[..]).expect("it parses whole");
    let options = SerializeOptions::new().use_proto_field_name(true);
    let mut message = message
        .serialize_with_options(serde_json::value::Serializer, &options)
        .expect("a message is JSON");
    let mut events = message["events"].take();
    for event in events.as_array_mut().into_iter().flatten() {
        let fields = event.as_object_mut().expect("a message");
        for name in ADDED {
            fields.remove(name);
        }
    }
    let events = if events.is_null() { json!([]) } else { events };
    json!({ "strict": { "taken": taken, "refused": refused }, "lenient": events })
}

/// Numbers by value: `1` and `1.0` are one number in JSON.
fn by_value(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => items.iter().map(by_value).collect(),
        Value::Object(members) => {
            members.iter().map(|(key, value)| (key.clone(), by_value(value))).collect()
        }
        other => other.clone(),
    }
}

#[test]
fn every_body_becomes_what_is_expected_of_it() {
    let descriptor = batch_descriptor();
    let write = std::env::var_os("JIMBOT_WRITE_CORPUS").is_some();
    let (mut differing, mut compared) = (Vec::new(), 0);
    for entry in fs::read_dir(corpus().join("bodies")).expect("there is a corpus") {
        let path = entry.expect("it can be listed").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a plain name");
        let found = outcome(&descriptor, &fs::read(&path).expect("a body"));
        let file = corpus().join("expected").join(format!("{name}.json"));
        if write {
            fs::write(&file, format!("{found:#}\n")).expect("the tree can be written");
        }
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
        let expected: Value = serde_json::from_str(&text).expect("an expectation is JSON");
        if by_value(&found) != by_value(&expected) {
            differing.push(format!("{name}\n  found    {found}\n  expected {expected}"));
        }
        compared += 1;
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
    assert!(compared > 100, "only {compared} bodies");
}

#[test]
fn every_body_cut_anywhere_is_taken_from_a_lenient_sender() {
    let descriptor = batch_descriptor();
    for entry in fs::read_dir(corpus().join("bodies")).expect("there is a corpus") {
        let body = fs::read(entry.expect("it can be listed").path()).expect("a body");
        for end in (0..body.len()).step_by(1 + body.len() / 40) {
            outcome(&descriptor, &body[..end]);
        }
    }
}

#[test]
fn large_bodies_are_taken_and_none_is_refused() {
    let descriptor = batch_descriptor();
    let event = |odd: &str| format!(r#"{{"type":"HEARTBEAT","timestamp":1,"odd":{odd}}}"#);
    let bodies = [
        "[".repeat(60_000),
        "{\"a\":".repeat(20_000),
        event(&format!("{}{}", "[".repeat(30_000), "]".repeat(30_000))),
        event(&"9".repeat(50_000)),
        event(&format!("0.{}1", "0".repeat(50_000))),
        event(&format!("\"{}", "x".repeat(60_000))),
        event(&format!("\"{}\"", "\\ud83c".repeat(10_000))),
        event(&format!("{{{}}}", vec!["\"same\":1"; 5_000].join(","))),
        format!("[{}]", vec!["7"; 3_000].join(",")),
        "\n".repeat(60_000),
        "not json\n".repeat(3_000),
        "\\".repeat(60_000),
    ];
    for body in bodies {
        let shown = &body[..body.len().min(60)];
        let found = outcome(&descriptor, body.as_bytes());
        let events = found["lenient"].as_array().expect("a list");
        assert!(!events.is_empty() || body.trim().is_empty(), "{shown}…");
    }
}
