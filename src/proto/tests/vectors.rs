//! Every golden vector says, read with the Rust bindings, what its canonical JSON says.

use std::fs;
use std::path::{Path, PathBuf};

use jimbot_proto::FILE_DESCRIPTOR_SET;
use jimbot_proto::events::v1::EventBatch;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::Value;

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors")
}

fn names() -> Vec<String> {
    let manifest = fs::read(vectors().join("manifest.json")).expect("the vectors have a manifest");
    let manifest: Value = serde_json::from_slice(&manifest).expect("the manifest is JSON");
    let rows = manifest.as_array().expect("the manifest is a list");
    let names: Vec<String> = rows
        .iter()
        .map(|row| row["name"].as_str().expect("a vector has a name").to_owned())
        .collect();
    assert!(names.len() >= 90, "only {} vectors", names.len());
    names
}

fn batch_descriptor() -> MessageDescriptor {
    DescriptorPool::decode(FILE_DESCRIPTOR_SET)
        .expect("the descriptor is whole")
        .get_message_by_name("jimbot.events.v1.EventBatch")
        .expect("the schema has EventBatch")
}

fn as_json(message: &DynamicMessage) -> Value {
    let options = SerializeOptions::new().use_proto_field_name(true);
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::new(&mut text);
    message.serialize_with_options(&mut serializer, &options).expect("a message is JSON");
    serde_json::from_slice(&text).expect("what was written is JSON")
}

/// Canonical JSON writes 1 or 1.0, as the language likes.
fn numbers_as_doubles(value: &mut Value) {
    match value {
        Value::Number(number) => *value = Value::from(number.as_f64().expect("a finite number")),
        Value::Array(items) => items.iter_mut().for_each(numbers_as_doubles),
        Value::Object(members) => members.values_mut().for_each(numbers_as_doubles),
        _ => {}
    }
}

#[test]
fn every_vector_agrees_with_its_canonical_json() {
    let descriptor = batch_descriptor();
    for name in names() {
        let bytes = fs::read(vectors().join(format!("{name}.binpb"))).expect("a vector has bytes");
        let text = fs::read_to_string(vectors().join(format!("{name}.expected.json")))
            .expect("a vector has canonical JSON");
        let mut expected: Value = serde_json::from_str(&text).expect("canonical JSON is JSON");
        numbers_as_doubles(&mut expected);

        let typed = EventBatch::decode(bytes.as_slice()).expect("a vector is an EventBatch");
        let from_bytes = DynamicMessage::decode(descriptor.clone(), bytes.as_slice())
            .expect("a vector is an EventBatch");
        let through_types =
            DynamicMessage::decode(descriptor.clone(), typed.encode_to_vec().as_slice())
                .expect("what was encoded is an EventBatch");
        let mut deserializer = serde_json::Deserializer::from_str(&text);
        let from_text = DynamicMessage::deserialize(descriptor.clone(), &mut deserializer)
            .expect("canonical JSON is an EventBatch");
        for (what, message) in [
            ("bytes", from_bytes),
            ("generated types", through_types),
            ("canonical JSON", from_text),
        ] {
            let mut found = as_json(&message);
            numbers_as_doubles(&mut found);
            assert_eq!(found, expected, "{name}, by its {what}");
        }
    }
}
