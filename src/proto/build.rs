//! Generates the Rust bindings without an installed `protoc`, and the tables that the schema's options spell out.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use prost_reflect::prost_types::FileDescriptorSet;
use prost_reflect::prost_types::field_descriptor_proto::Type;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, Value};

const FILES: [&str; 8] = [
    "jimbot/events/v1/options.proto",
    "jimbot/events/v1/game_state.proto",
    "jimbot/events/v1/balatro_objects.proto",
    "jimbot/events/v1/balatro_events.proto",
    "jimbot/events/v1/base.proto",
    "jimbot/events/v1/event_bus.proto",
    "jimbot/events/v1/actions.proto",
    "jimbot/resource_coordinator.proto",
];

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    println!("cargo:rerun-if-changed={}", root.display());

    let compiled = compile(&root, false);
    // Not re-encoded through prost's own descriptor types: they would drop the custom options.
    let bytes = compiled.encode_file_descriptor_set();
    fs::write(out.join("descriptor.bin"), &bytes).expect("OUT_DIR is writable");
    let pool = DescriptorPool::decode(bytes.as_slice()).expect("protox writes a whole set");
    fs::write(out.join("tables.rs"), event_types(&pool)).expect("OUT_DIR is writable");

    let encoded = encoded_fields(&pool);
    let mut documented = compile(&root, true).file_descriptor_set();
    take_as_bytes(&mut documented, &encoded);
    let services = env::var_os("CARGO_FEATURE_SERVICES").is_some();
    let mut builder = tonic_prost_build::configure().build_client(services).build_server(services);
    for field in &encoded {
        builder = builder.bytes(format!(".{field}"));
    }
    builder.compile_fds(documented).expect("the schema generates Rust");
}

/// Full names of the fields with the option `encoded`.
fn encoded_fields(pool: &DescriptorPool) -> Vec<String> {
    let option =
        pool.get_extension_by_name("jimbot.events.v1.encoded").expect("options.proto has encoded");
    pool.all_messages()
        .flat_map(|message| message.fields().collect::<Vec<_>>())
        .filter(|field| field.options().get_extension(&option).as_bool() == Some(true))
        .map(|field| field.full_name().to_owned())
        .collect()
}

/// Turns message fields into `bytes` fields of the same wire form, so that what passes through is copied, not parsed.
fn take_as_bytes(files: &mut FileDescriptorSet, encoded: &[String]) {
    for file in &mut files.file {
        let package = file.package().to_owned();
        for message in &mut file.message_type {
            let name = message.name().to_owned();
            for field in &mut message.field {
                if encoded.contains(&format!("{package}.{name}.{}", field.name())) {
                    field.set_type(Type::Bytes);
                    field.type_name = None;
                }
            }
        }
    }
}

fn compile(root: &Path, source_info: bool) -> protox::Compiler {
    let mut compiler = protox::Compiler::new([root]).expect("proto/ is there");
    compiler.include_imports(true).include_source_info(source_info);
    compiler.open_files(FILES).unwrap_or_else(|error| panic!("{error:?}"));
    compiler
}

/// One row for each value of `EventType`, in the order of the schema.
fn event_types(pool: &DescriptorPool) -> String {
    let types =
        pool.get_enum_by_name("jimbot.events.v1.EventType").expect("base.proto has EventType");
    let event = pool.get_message_by_name("jimbot.events.v1.Event").expect("base.proto has Event");
    let option =
        pool.get_extension_by_name("jimbot.events.v1.event").expect("options.proto has event");
    let mut rows = String::from(
        "/// Every event type but `Unspecified`, by number.\npub const EVENT_TYPES: &[EventSpec] = &[\n",
    );
    for value in types.values().filter(|value| value.number() != 0) {
        let options = value.options();
        assert!(options.has_extension(&option), "{} lacks the event option", value.name());
        let spec = options.get_extension(&option);
        let spec = spec.as_message().expect("event is a message");
        let payload = text(spec, "payload");
        let field = payload_field(&event, &payload);
        let priority =
            match spec.get_field_by_name("priority").and_then(|value| value.as_enum_number()) {
                Some(1) => "Low",
                Some(3) => "High",
                _ => "Normal",
            };
        writeln!(
            rows,
            "    EventSpec {{ event_type: EventType::{}, names: &{:?}, payload: {payload:?}, payload_field: {field}, topic: {:?}, priority: Priority::{priority}, internal: {} }},",
            camel(value.name().trim_start_matches("EVENT_TYPE_")),
            texts(spec, "names"),
            text(spec, "topic"),
            spec.get_field_by_name("internal").and_then(|value| value.as_bool()).unwrap_or(false),
        )
        .expect("writing to a string");
    }
    rows.push_str("];\n");
    rows
}

fn payload_field(event: &MessageDescriptor, name: &str) -> u32 {
    if name.is_empty() {
        return 0;
    }
    let field =
        event.get_field_by_name(name).unwrap_or_else(|| panic!("Event.payload has no {name}"));
    assert!(
        field.containing_oneof().is_some_and(|oneof| oneof.name() == "payload"),
        "{name} is no payload"
    );
    field.number()
}

fn text(message: &DynamicMessage, field: &str) -> String {
    message
        .get_field_by_name(field)
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}

fn texts(message: &DynamicMessage, field: &str) -> Vec<String> {
    let value = message.get_field_by_name(field);
    let list = value.as_deref().and_then(Value::as_list).unwrap_or_default();
    list.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

fn camel(name: &str) -> String {
    name.split('_')
        .map(|word| {
            let (first, rest) = word.split_at(1);
            format!("{first}{}", rest.to_lowercase())
        })
        .collect()
}
