//! Events as canonical protobuf JSON, by the schema's descriptor.

use prost_reflect::prost::DecodeError;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};

/// Reads events.
pub(super) struct Decoder {
    event: MessageDescriptor,
}

impl Decoder {
    pub(super) fn new() -> Decoder {
        let pool = DescriptorPool::decode(jimbot_proto::FILE_DESCRIPTOR_SET)
            .expect("the schema that was built in is whole");
        let event = pool
            .get_message_by_name("jimbot.events.v1.Event")
            .expect("the schema that was built in has events");
        Decoder { event }
    }

    pub(super) fn decode(&self, bytes: &[u8]) -> Result<DynamicMessage, DecodeError> {
        DynamicMessage::decode(self.event.clone(), bytes)
    }
}

/// Appends one line of canonical JSON: camel-case names, 64-bit numbers as strings, enums by
/// name, defaults left out, infinities and not-a-number as strings.
pub(super) fn write(line: &mut String, event: &DynamicMessage) {
    let mut bytes = Vec::with_capacity(512);
    let mut serializer = serde_json::Serializer::new(&mut bytes);
    event
        .serialize_with_options(&mut serializer, &SerializeOptions::new())
        .expect("every decoded event has a JSON form");
    line.push_str(std::str::from_utf8(&bytes).expect("JSON is UTF-8"));
    line.push('\n');
}
