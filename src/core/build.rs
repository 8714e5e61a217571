//! Turns the schema's descriptor into the converter's static tables, so that a field added to the
//! schema needs no edit of the converter.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, EnumDescriptor, FieldDescriptor, Kind,
    MessageDescriptor, ReflectMessage, Value,
};

#[path = "src/convert/key_hash.rs"]
mod key_hash;

const PACKAGE: &str = "jimbot.events.v1";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/convert/key_hash.rs");
    let pool = DescriptorPool::decode(jimbot_proto::FILE_DESCRIPTOR_SET)
        .expect("the schema's descriptor set decodes");
    let text = Generator::new(&pool).run();
    let path = Path::new(&env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("tables.rs");
    fs::write(path, text).expect("OUT_DIR is writable");
}

/// Collects the messages that can be reached from `Event` and prints their tables.
struct Generator<'a> {
    pool: &'a DescriptorPool,
    /// Messages by table index.
    messages: Vec<MessageDescriptor>,
    choices: Vec<String>,
    enums: Vec<EnumDescriptor>,
    rules: Vec<String>,
    /// All rows of all tables, one array.
    fields: String,
    slots: usize,
}

/// A row of a table before it is printed.
struct Row {
    key: String,
    kind: &'static str,
    number: u32,
    wire: u32,
    bit: usize,
    flat: usize,
    sub: usize,
    rule: usize,
    reserve: usize,
    role: u8,
}

impl<'a> Generator<'a> {
    fn new(pool: &'a DescriptorPool) -> Self {
        Self {
            pool,
            messages: Vec::new(),
            choices: Vec::new(),
            enums: Vec::new(),
            rules: vec!["Rule::NONE".to_owned()],
            fields: String::new(),
            slots: 0,
        }
    }

    fn message(&self, name: &str) -> MessageDescriptor {
        self.pool
            .get_message_by_name(&format!("{PACKAGE}.{name}"))
            .unwrap_or_else(|| panic!("the schema has no message {name}"))
    }

    fn table_of(&mut self, message: &MessageDescriptor) -> usize {
        if let Some(index) = self.messages.iter().position(|known| known == message) {
            return index;
        }
        self.messages.push(message.clone());
        self.messages.len() - 1
    }

    fn enum_of(&mut self, descriptor: &EnumDescriptor) -> usize {
        if let Some(index) = self.enums.iter().position(|known| known == descriptor) {
            return index;
        }
        self.enums.push(descriptor.clone());
        self.enums.len() - 1
    }

    fn run(mut self) -> String {
        let event = self.message("Event");
        let batch = self.message("BatchInfo");
        assert_eq!(self.table_of(&event), 0, "the envelope is table 0");
        assert_eq!(self.table_of(&batch), 1, "the batch's envelope is table 1");
        let types = self.types(&event);
        let mut required = String::new();
        let mut tables = String::new();
        let mut next = 0;
        // Tables are found while their parents are printed.
        while next < self.messages.len() {
            let message = self.messages[next].clone();
            let table = self.table(&message, if next == 0 { Some(&mut required) } else { None });
            tables.push_str(&table);
            next += 1;
        }
        let mut text = String::new();
        writeln!(text, "pub(super) static TABLES: [Table; {}] = [\n{tables}];", next).unwrap();
        // A power of two, so that a masked slot needs no check.
        let slots = self.slots.next_power_of_two();
        let spare = "    Field::NONE,\n".repeat(slots - self.slots);
        writeln!(
            text,
            "/// Slots of fields, and of what is remembered of each.\npub(super) const SLOTS: usize = {slots};\npub(super) static FIELDS: [Field; SLOTS] = [\n{}{spare}];",
            self.fields
        )
        .unwrap();
        writeln!(text, "pub(super) static CHOICES: &[Choice] = &[\n{}];", self.choices.concat())
            .unwrap();
        let shapes = self.shapes(&event);
        let enums: String = self.enums.iter().map(enum_names).collect();
        writeln!(text, "pub(super) static ENUMS: &[&[(&str, u32)]] = &[\n{enums}];").unwrap();
        writeln!(text, "pub(super) static RULES: &[Rule] = &[\n{},\n];", self.rules.join(",\n"))
            .unwrap();
        text.push_str(&types);
        text.push_str(&required);
        text.push_str(&shapes);
        text
    }

    /// One table: its rows, and the bucket of each key.
    fn table(&mut self, message: &MessageDescriptor, required: Option<&mut String>) -> String {
        let is_envelope = required.is_some();
        let mut rows = Vec::new();
        let mut flats = Vec::new();
        let mut bit = 0;
        self.rows(message, 0, is_envelope, &mut rows, &mut flats, &mut bit);
        if is_envelope {
            envelope_rows(&mut rows, &mut bit);
        }
        if let Some(required) = required {
            *required = required_keys(message, &rows);
        }
        assert!(bit <= 56, "{}: more fields than the set of seen keys holds", message.name());
        assert!(rows.len() < 255, "{}: more keys than a byte numbers", message.name());
        let keys: Vec<&str> = rows.iter().map(|row| row.key.as_str()).collect();
        let (multiplier, shift, buckets) = perfect_hash(&keys);
        let base = self.slots;
        self.slots += rows.len() + 1;
        // In front of a table's fields stands what is remembered of its objects' start.
        self.fields.push_str("    Field::NONE,\n");
        for row in &rows {
            let Row { key, kind, bit, flat, sub, rule, role, reserve, .. } = row;
            let tag = tag(row.number, row.wire);
            writeln!(
                self.fields,
                "    Field::new(&Row {{ name: {key:?}, kind: Kind::{kind}, tag: {tag:?}, bit: {bit}, flat: {flat}, sub: {sub}, rule: {rule}, role: {role}, reserve: {reserve} }}),",
            )
            .unwrap();
        }
        format!(
            "Table {{ name: {:?}, base: {base}, len: {}, multiplier: {multiplier:#x}, shift: {shift}, buckets: &{buckets:?}, flats: &{flats:?} }},\n",
            message.name(),
            rows.len(),
        )
    }

    fn rows(
        &mut self,
        message: &MessageDescriptor,
        flat: usize,
        is_envelope: bool,
        rows: &mut Vec<Row>,
        flats: &mut Vec<(u32, u8)>,
        bit: &mut usize,
    ) {
        for oneof in message.oneofs() {
            let is_synthetic = oneof.fields().count() == 1
                && oneof.fields().all(|field| field.field_descriptor_proto().proto3_optional());
            if is_synthetic || (is_envelope && oneof.name() == "payload") {
                continue;
            }
            let choice = self.choice(oneof.name(), oneof.fields());
            let rule = oneof.fields().map(|field| self.rule(&field)).max().unwrap_or(0);
            rows.push(Row {
                key: oneof.name().to_owned(),
                kind: "Choice",
                number: 1,
                wire: 0,
                bit: *bit,
                flat,
                sub: choice,
                rule,
                reserve: 1,
                role: 0,
            });
            *bit += 1;
        }
        let mut fields: Vec<FieldDescriptor> = message.fields().collect();
        fields.sort_by_key(FieldDescriptor::number);
        for field in fields {
            let in_choice = field.containing_oneof().is_some()
                && !field.field_descriptor_proto().proto3_optional();
            if in_choice || field.name() == "extra" || flag(&field, "internal") {
                continue;
            }
            if flag(&field, "flatten") {
                let Kind::Message(inner) = field.kind() else {
                    panic!("{}: only a message can be flattened", field.full_name());
                };
                assert_eq!(flat, 0, "{}: flattened twice", field.full_name());
                flats.push(tag(field.number(), 2));
                let number = flats.len();
                self.rows(&inner, number, false, rows, flats, bit);
                continue;
            }
            let (kind, wire, sub, reserve) = self.kind(&field);
            let kind = match field.name() {
                "changes" if is_envelope => "Changes",
                "subtype" if is_envelope => "Subtype",
                _ => kind,
            };
            let rule = self.rule(&field);
            let role = match (message.name(), field.name()) {
                ("Event", "event_id") => 1,
                ("Event", "game_id") => 2,
                ("Event", "producer") => 3,
                ("GameStateEvent", "game_id") => 4,
                _ => 0,
            };
            assert!(role == 0 || rule != 0, "{}: a role is noted with the rule", field.full_name());
            let mut keys = vec![field.name().to_owned()];
            keys.extend(texts(&option(&field, "also")));
            for key in keys {
                rows.push(Row {
                    key,
                    kind,
                    number: field.number(),
                    wire,
                    bit: *bit,
                    flat,
                    sub,
                    rule,
                    reserve,
                    role,
                });
            }
            *bit += 1;
        }
    }

    /// The converter's name for a field's kind, its wire type, the table it refers to, and how many
    /// bytes its length is expected to take.
    fn kind(&mut self, field: &FieldDescriptor) -> (&'static str, u32, usize, usize) {
        if field.is_map() {
            let Kind::Message(entry) = field.kind() else { unreachable!("a map is a message") };
            let value = entry.map_entry_value_field();
            assert_eq!(entry.map_entry_key_field().kind(), Kind::String, "{}", field.full_name());
            return match value.kind() {
                Kind::String if flag(field, "json_values") => ("JsonMap", 2, 0, 1),
                Kind::String => ("TextMap", 2, 0, 1),
                Kind::Double => ("DoubleMap", 2, 0, 1),
                Kind::Message(message) => ("MessageMap", 2, self.table_of(&message), 1),
                other => panic!("{}: no conversion to a map of {other:?}", field.full_name()),
            };
        }
        if field.cardinality() == Cardinality::Repeated {
            return match field.kind() {
                Kind::Double => ("DoubleList", 2, 0, 1),
                Kind::Bool => ("BoolList", 2, 0, 1),
                Kind::String => ("TextList", 2, 0, 1),
                Kind::Message(message) => ("MessageList", 2, self.table_of(&message), 1),
                other => panic!("{}: no conversion to a list of {other:?}", field.full_name()),
            };
        }
        match field.kind() {
            Kind::Double => ("Double", 1, 0, 0),
            Kind::Bool => ("Bool", 0, 0, 0),
            Kind::String => ("Text", 2, 0, 1),
            Kind::Uint64 => ("Unsigned64", 0, 0, 0),
            Kind::Uint32 => ("Unsigned32", 0, 0, 0),
            Kind::Int64 => ("Signed64", 0, 0, 0),
            Kind::Int32 => ("Signed32", 0, 0, 0),
            Kind::Enum(descriptor) => ("Enum", 0, self.enum_of(&descriptor), 0),
            Kind::Message(message) => ("Message", 2, self.table_of(&message), 1),
            other => panic!("{}: no conversion to {other:?}", field.full_name()),
        }
    }

    /// A key whose value may be of several JSON types.
    fn choice(&mut self, name: &str, fields: impl Iterator<Item = FieldDescriptor>) -> usize {
        let mut parts = BTreeMap::new();
        let mut table = 0;
        for field in fields {
            let part = field
                .name()
                .strip_prefix(name)
                .unwrap_or_else(|| {
                    panic!("{}: a choice's member starts with its name", field.full_name())
                })
                .to_owned();
            let wire = match (part.as_str(), field.kind()) {
                ("_number", Kind::Double) => 1,
                ("_flag", Kind::Bool) => 0,
                ("_text", Kind::String) => 2,
                ("_object", Kind::Message(message)) => {
                    table = self.table_of(&message);
                    2
                }
                (_, other) => panic!("{}: no conversion to {other:?}", field.full_name()),
            };
            parts.insert(part, tag(field.number(), wire));
        }
        let part = |name: &str| parts.get(name).copied().unwrap_or((0, 0));
        let text = format!(
            "    Choice {{ number: {:?}, text: {:?}, flag: {:?}, object: {:?}, table: {table} }},\n",
            part("_number"),
            part("_text"),
            part("_flag"),
            part("_object")
        );
        if let Some(index) = self.choices.iter().position(|known| *known == text) {
            return index;
        }
        self.choices.push(text);
        self.choices.len() - 1
    }

    fn rule(&mut self, field: &FieldDescriptor) -> usize {
        let Some(value) = option(field, "rule") else { return 0 };
        let rule = value.as_message().expect("a rule is a message");
        let number = |name: &str| {
            if rule.has_field_by_name(name) {
                rule.get_field_by_name(name).and_then(|value| value.as_f64())
            } else {
                None
            }
        };
        let length = |name: &str| {
            if rule.has_field_by_name(name) {
                rule.get_field_by_name(name).and_then(|value| value.as_u32())
            } else {
                None
            }
        };
        let truth = |name: &str| {
            rule.get_field_by_name(name).and_then(|value| value.as_bool()).unwrap_or(false)
        };
        let enum_number = |name: &str| {
            rule.get_field_by_name(name).and_then(|value| value.as_enum_number()).unwrap_or(0)
        };
        let one_of = texts(&rule.get_field_by_name("one_of").map(|value| value.into_owned()));
        let bound = |value: Option<f64>, open: &str| match value {
            Some(value) => format!("{value:?}_f64"),
            None => open.to_owned(),
        };
        let has_bound = number("min").is_some() || number("max").is_some();
        let text = format!(
            "    Rule {{ min: {}, max: {}, has_bound: {has_bound}, finite: {}, integer: {}, one_of: &{one_of:?}, format: {}, max_bytes: {}, max_items: {}, is_length: {}, severity: {} }}",
            bound(number("min"), "f64::NEG_INFINITY"),
            bound(number("max"), "f64::INFINITY"),
            truth("finite"),
            truth("integer"),
            enum_number("format"),
            length("max_bytes").unwrap_or(u32::MAX),
            length("max_items").unwrap_or(u32::MAX),
            one_of.is_empty() && enum_number("format") == 0 && !has_bound && !truth("finite"),
            match enum_number("severity") {
                0 => 2,
                other => other,
            },
        );
        if let Some(index) = self.rules.iter().position(|known| *known == text) {
            return index;
        }
        self.rules.push(text);
        self.rules.len() - 1
    }

    /// The event types: what each is called, what it carries.
    fn types(&mut self, event: &MessageDescriptor) -> String {
        let descriptor = self
            .pool
            .get_enum_by_name(&format!("{PACKAGE}.EventType"))
            .expect("the schema has EventType");
        let mut kinds = String::new();
        let mut names: BTreeMap<String, Named> = BTreeMap::new();
        let mut count = 0;
        for value in descriptor.values() {
            let Some(spec) = enum_option(&value.options(), "event") else { continue };
            let spec = spec.as_message().expect("an event's option is a message");
            let text = |name: &str| {
                spec.get_field_by_name(name)
                    .and_then(|value| value.as_str().map(str::to_owned))
                    .unwrap_or_default()
            };
            let is_internal =
                spec.get_field_by_name("internal").and_then(|v| v.as_bool()).unwrap_or(false);
            let priority =
                spec.get_field_by_name("priority").and_then(|v| v.as_enum_number()).unwrap_or(0);
            let priority = if priority == 0 { 2 } else { priority };
            let all = texts(&spec.get_field_by_name("names").map(|value| value.into_owned()));
            let canonical = all.first().cloned().unwrap_or_default();
            let (canonical, subtype) = canonical.split_once('/').unwrap_or((&canonical, ""));
            let (tag, table) = match event.get_field_by_name(&text("payload")) {
                // What the service itself makes is never read from JSON.
                Some(_) if is_internal => ((0, 0), 0),
                Some(field) => {
                    let Kind::Message(message) = field.kind() else {
                        panic!("{}: a payload is a message", field.full_name())
                    };
                    (tag(field.number(), 2), self.table_of(&message))
                }
                None => ((0, 0), 0),
            };
            writeln!(
                kinds,
                "    EventKind {{ number: {}, name: {canonical:?}, subtype: {subtype:?}, tag: {tag:?}, table: {table}, priority: {priority} }},",
                value.number()
            )
            .unwrap();
            if !is_internal {
                for name in &all {
                    match name.split_once('/') {
                        Some((name, subtype)) => {
                            let entry = names.entry(name.to_owned()).or_default();
                            entry.1.push((subtype.to_owned(), count));
                        }
                        None => names.entry(name.clone()).or_default().0 = Some(count),
                    }
                }
            }
            count += 1;
        }
        let mut text = format!("pub(super) static KINDS: &[EventKind] = &[\n{kinds}];\n");
        // Names are looked up with their closing quote.
        let keys: Vec<String> = names.keys().map(|name| format!("{name}\"")).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let (multiplier, shift, buckets) = perfect_hash(&keys);
        text.push_str("pub(super) static NAMES: &[TypeName] = &[\n");
        for (name, (kind, subtypes)) in &names {
            let kind = kind.or(subtypes.first().map(|first| first.1)).expect("a name has a kind");
            let subtypes: String = subtypes
                .iter()
                .map(|(subtype, kind)| format!("Subtype::new({name:?}, {subtype:?}, {kind}), "))
                .collect();
            writeln!(text, "    TypeName::new({name:?}, {kind}, &[{subtypes}]),").unwrap();
        }
        text.push_str("];\n");
        writeln!(text, "pub(super) const NAMES_MULTIPLIER: u64 = {multiplier:#x};\npub(super) const NAMES_SHIFT: u32 = {shift};\npub(super) static NAMES_BUCKETS: &[u8] = &{buckets:?};").unwrap();
        text
    }

    /// The form on the wire of every message that an event may hold, and the rules for its values, for events
    /// that come as protobuf.
    fn shapes(&mut self, event: &MessageDescriptor) -> String {
        let mut messages = vec![event.clone()];
        let mut text = String::from("pub(super) static SHAPES: &[&[ShapeField]] = &[\n");
        let mut most = 0;
        let mut next = 0;
        while next < messages.len() {
            let message = messages[next].clone();
            let mut fields: Vec<FieldDescriptor> = message.fields().collect();
            fields.sort_by_key(FieldDescriptor::number);
            let mut repeated = 0;
            text.push_str("    &[");
            for field in fields {
                let is_repeated = field.cardinality() == Cardinality::Repeated;
                let form = match field.kind() {
                    Kind::Message(message) => {
                        let known = messages.iter().position(|known| *known == message);
                        let index = known.unwrap_or_else(|| {
                            messages.push(message);
                            messages.len() - 1
                        });
                        format!("Shape::Message({index})")
                    }
                    Kind::String => "Shape::Text".to_owned(),
                    Kind::Bytes => "Shape::Bytes".to_owned(),
                    Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => {
                        format!("Shape::Fixed64 {{ packable: {is_repeated} }}")
                    }
                    Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => {
                        format!("Shape::Fixed32 {{ packable: {is_repeated} }}")
                    }
                    _ => format!("Shape::Varint {{ packable: {is_repeated} }}"),
                };
                let oneof = field
                    .containing_oneof()
                    .filter(|_| !field.field_descriptor_proto().proto3_optional());
                let name = match &oneof {
                    _ if flag(&field, "flatten") || message.is_map_entry() => String::new(),
                    Some(oneof) => oneof.name().to_owned(),
                    None => field.name().to_owned(),
                };
                let is_value = is_repeated || matches!(field.kind(), Kind::Double | Kind::String);
                let rule = match &oneof {
                    _ if !is_value => 0,
                    // As in the table of keys: one rule for all types of a key.
                    Some(oneof) => oneof.fields().map(|field| self.rule(&field)).max().unwrap_or(0),
                    None => self.rule(&field),
                };
                repeated += usize::from(is_repeated);
                let counter = if is_repeated { repeated } else { 0 };
                let is_checked = !flag(&field, "internal");
                write!(
                    text,
                    "ShapeField {{ number: {}, shape: {form}, name: {name:?}, rule: {rule}, counter: {counter}, is_map: {}, is_checked: {is_checked} }}, ",
                    field.number(),
                    field.is_map(),
                )
                .unwrap();
            }
            most = most.max(repeated);
            text.push_str("],\n");
            next += 1;
        }
        text.push_str("];\n");
        writeln!(
            text,
            "/// Repeated fields of one message, at most.\npub(super) const REPEATED_MAX: usize = {most};"
        )
        .unwrap();
        text
    }
}

/// What a type name without subtype means, and what it means with each of its subtypes.
type Named = (Option<usize>, Vec<(String, usize)>);

/// The keys that an envelope must have.
fn required_keys(event: &MessageDescriptor, rows: &[Row]) -> String {
    let mut keys = Vec::new();
    for field in event.fields() {
        let Some(rule) = option(&field, "rule") else { continue };
        let rule = rule.as_message().expect("a rule is a message");
        let Some(Value::List(list)) = rule.get_field_by_name("required_in").map(|v| v.into_owned())
        else {
            continue;
        };
        let dialects =
            list.iter().fold(0, |set, item| set | 1_u8 << item.as_enum_number().unwrap_or(0));
        if dialects != 0 {
            let severity = rule.get_field_by_name("severity").and_then(|v| v.as_enum_number());
            // What is not read from a key of its own name is read from another.
            let own = (!flag(&field, "internal")).then(|| field.name().to_owned());
            let key = own.or_else(|| texts(&option(&field, "also")).into_iter().next());
            keys.push((
                field.number(),
                key.expect("a required field has a key"),
                dialects,
                severity.filter(|s| *s != 0).unwrap_or(2),
            ));
        }
    }
    let mut text = String::from("pub(super) static REQUIRED: &[Required] = &[\n");
    for (number, key, dialects, severity) in keys {
        let row = rows.iter().find(|row| row.key == key).expect("a required key has a row");
        writeln!(text, "    Required {{ number: {number}, bit: {}, dialects: {dialects}, severity: {severity}, reason: \"{key} is missing\" }},", row.bit).unwrap();
    }
    text.push_str("];\n");
    text
}

/// The keys of the envelope that no single field stands for.
fn envelope_rows(rows: &mut Vec<Row>, bit: &mut usize) {
    let mut special = |keys: &[&str], kind: &'static str| {
        for (sub, key) in keys.iter().enumerate() {
            rows.retain(|row| row.key != *key);
            rows.push(Row {
                key: (*key).to_owned(),
                kind,
                number: 5,
                wire: 1,
                bit: *bit,
                flat: 0,
                sub,
                rule: 0,
                reserve: 1,
                role: 0,
            });
        }
        *bit += 1;
    };
    special(&["type", "event_type"], "Type");
    special(&["timestamp"], "Timestamp");
    special(&["payload", "data", "game_state"], "Payload");
    special(&["events"], "Events");
}

/// A field's tag as bytes, first lowest, and how many they are.
fn tag(number: u32, wire: u32) -> (u32, u8) {
    let mut value = number << 3 | wire;
    let mut bytes = 0_u32;
    let mut len = 0;
    while value >= 0x80 {
        bytes |= (value & 0x7F | 0x80) << (8 * len);
        value >>= 7;
        len += 1;
    }
    bytes |= value << (8 * len);
    (bytes, len as u8 + 1)
}

/// A multiplier with which no two keys share a bucket. Buckets hold 1-based numbers of keys, 0 for
/// none. Of keys that begin with the same sixteen bytes the table finds the first.
fn perfect_hash(keys: &[&str]) -> (u64, u32, Vec<u8>) {
    let starts: Vec<u128> = keys.iter().map(|key| key_hash::start(key.as_bytes())).collect();
    let is_first = |index: usize| !starts[..index].contains(&starts[index]);
    let mut bits = (keys.len().max(2) * 2).next_power_of_two().trailing_zeros();
    loop {
        let mut multiplier = 0x9E37_79B9_7F4A_7C15_u64;
        for _ in 0..20_000 {
            let mut buckets = vec![0_u8; 1 << bits];
            let placed = (0..keys.len()).filter(|index| is_first(*index)).all(|index| {
                let bucket = key_hash::bucket(starts[index], multiplier, 64 - bits);
                let free = buckets[bucket] == 0;
                buckets[bucket] = index as u8 + 1;
                free
            });
            if placed {
                return (multiplier, 64 - bits, buckets);
            }
            multiplier = multiplier.wrapping_mul(0xD134_2543_DE82_EF95).wrapping_add(2) | 1;
        }
        bits += 1;
    }
}

fn enum_names(descriptor: &EnumDescriptor) -> String {
    let prefix: String = descriptor.name().chars().fold(String::new(), |mut text, letter| {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_uppercase());
        text
    });
    let names: Vec<(String, i32)> = descriptor
        .values()
        .filter(|value| value.number() > 0)
        .map(|value| {
            let short = value.name().strip_prefix(&format!("{prefix}_")).unwrap_or(value.name());
            (short.to_ascii_lowercase(), value.number())
        })
        .collect();
    format!("    &{names:?},\n")
}

fn option(field: &FieldDescriptor, name: &str) -> Option<Value> {
    enum_option(&field.options(), name)
}

fn enum_option(options: &DynamicMessage, name: &str) -> Option<Value> {
    let full_name = format!("{PACKAGE}.{name}");
    let extension = options.descriptor().parent_pool().all_extensions().find(|extension| {
        extension.full_name() == full_name && extension.containing_message() == options.descriptor()
    })?;
    options.has_extension(&extension).then(|| options.get_extension(&extension).into_owned())
}

fn flag(field: &FieldDescriptor, name: &str) -> bool {
    option(field, name).and_then(|value| value.as_bool()).unwrap_or(false)
}

fn texts(value: &Option<Value>) -> Vec<String> {
    match value {
        Some(Value::List(items)) => {
            items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
        }
        _ => Vec::new(),
    }
}
