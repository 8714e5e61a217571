//! Events as canonical protobuf JSON, by the schema's descriptor.

use prost_reflect::prost::DecodeError;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};

/// Reads events.
pub(crate) struct Decoder {
    event: MessageDescriptor,
}

impl Decoder {
    pub(crate) fn new() -> Decoder {
        let pool = DescriptorPool::decode(jimbot_proto::FILE_DESCRIPTOR_SET)
            .expect("the schema that was built in is whole");
        let event = pool
            .get_message_by_name("jimbot.events.v1.Event")
            .expect("the schema that was built in has events");
        Decoder { event }
    }

    pub(crate) fn decode(&self, bytes: &[u8]) -> Result<DynamicMessage, DecodeError> {
        DynamicMessage::decode(self.event.clone(), bytes)
    }
}

impl Decoder {
    /// Reads canonical JSON, and gives the event's bytes.
    pub(crate) fn parse(&self, text: &str) -> Result<Vec<u8>, String> {
        let mut json = serde_json::Deserializer::from_str(text);
        let event = DynamicMessage::deserialize(self.event.clone(), &mut json)
            .and_then(|event| json.end().map(|()| event))
            .map_err(|error| error.to_string())?;
        Ok(prost_reflect::prost::Message::encode_to_vec(&event))
    }
}

/// Appends one line of canonical JSON: camel-case names, 64-bit numbers as strings, enums by
/// name, defaults left out, infinities and not-a-number as strings.
pub(crate) fn write(line: &mut String, event: &DynamicMessage) {
    let mut bytes = Vec::with_capacity(512);
    let mut serializer = serde_json::Serializer::new(&mut bytes);
    event
        .serialize_with_options(&mut serializer, &SerializeOptions::new())
        .expect("every decoded event has a JSON form");
    line.push_str(std::str::from_utf8(&bytes).expect("JSON is UTF-8"));
    line.push('\n');
}
