//! Events that come as protobuf, against the schema: their form on the wire, and the rules for their values.
//!
//! The rules are those of `checks`, from the same table, and a finding names its field as JSON does: the payload is
//! `payload` whatever its type, the single values of a state stand beside its lists, a key of several types has one name.

use super::checks::{FINDINGS_MAX, NOTE, number_fault, text_fault};
use super::machine::FindingAt;
use super::paths::{PATH_MAX, shortened};
use super::tables::{EVENT_SHAPE, REPEATED_MAX, REQUIRED, RULES, SHAPES, Shape, ShapeField};

/// Messages within messages; parsers allow a hundred.
const DEPTH_MAX: u32 = 64;

/// Why bytes are no event.
pub(super) type Wrong = &'static str;

/// Reads wire format; every step checks its bounds.
pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn is_done(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(super) fn varint(&mut self) -> Result<u64, Wrong> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or("ends inside a number")?;
            self.at += 1;
            if shift == 63 && byte > 1 {
                return Err("a number longer than 64 bits");
            }
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a number longer than 64 bits")
    }

    pub(super) fn skip(&mut self, count: usize) -> Result<&'a [u8], Wrong> {
        let end = self.at.checked_add(count).ok_or("ends inside a field")?;
        let chunk = self.bytes.get(self.at..end).ok_or("ends inside a field")?;
        self.at = end;
        Ok(chunk)
    }

    pub(super) fn fixed64(&mut self) -> Result<u64, Wrong> {
        self.skip(8).map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap_or_default()))
    }

    pub(super) fn chunk(&mut self) -> Result<&'a [u8], Wrong> {
        let len = usize::try_from(self.varint()?).map_err(|_| "ends inside a field")?;
        self.skip(len)
    }

    /// A field's number and wire type.
    pub(super) fn tag(&mut self) -> Result<(u32, u8), Wrong> {
        let tag = u32::try_from(self.varint()?).map_err(|_| "a field number out of range")?;
        if tag >> 3 == 0 {
            return Err("a field number out of range");
        }
        Ok((tag >> 3, (tag & 7) as u8))
    }
}

/// A rule that an event breaks, with the path of the value.
pub(super) struct Broken {
    pub(super) path: String,
    pub(super) finding: FindingAt,
}

/// What a walk through an event found.
#[derive(Default)]
pub(super) struct Walk {
    /// In the order of their values.
    pub(super) broken: Vec<Broken>,
    /// Rules broken that are only counted.
    pub(super) noted: u32,
    /// Numbers below 128 of the event's own fields that are there.
    present: u128,
}

/// Where a message stands: the field that holds it, and those around it. Paths are made of this only when one is
/// needed.
struct Place<'a> {
    around: Option<&'a Place<'a>>,
    field: &'static ShapeField,
    /// Among the elements of its field.
    index: u32,
    bytes: &'a [u8],
}

impl Walk {
    /// Walks through an event; says what is wrong when it is none.
    pub(super) fn event(bytes: &[u8], is_lenient: bool) -> Result<Self, Wrong> {
        let mut walk = Self::default();
        walk.message(bytes, 0, EVENT_SHAPE, DEPTH_MAX, None, true)?;
        if !is_lenient {
            walk.check_required();
        }
        walk.broken.sort_by_key(|broken| broken.finding.at);
        Ok(walk)
    }

    /// An event does not say which dialect it was sent in: what all of them demand must be there.
    fn check_required(&mut self) {
        const ALL: u8 = 0b1110;
        for required in REQUIRED {
            if required.dialects & ALL == ALL && self.present >> (required.number & 127) & 1 == 0 {
                self.found(required.severity, required.reason, 0, String::new);
            }
        }
    }

    /// A message of this shape, whose first byte is byte `base` of the event.
    fn message(
        &mut self,
        bytes: &[u8],
        base: usize,
        shape: usize,
        depth: u32,
        place: Option<&Place<'_>>,
        is_checked: bool,
    ) -> Result<(), Wrong> {
        if depth == 0 {
            return Err("nested too deep");
        }
        let fields: &'static [ShapeField] = SHAPES[shape];
        // How many elements a repeated field has so far, and where the first stands.
        let mut elements = [(0_u32, 0_usize); REPEATED_MAX];
        let mut reader = Reader::new(bytes);
        while !reader.is_done() {
            let (number, wire) = reader.tag()?;
            let start = base + reader.at;
            let known = fields
                .binary_search_by_key(&number, |field| field.number)
                .ok()
                .map(|index| &fields[index]);
            let mut value = 1;
            match (wire, known.map(|field| field.shape)) {
                (0, None | Some(Shape::Varint { .. })) => value = reader.varint()?,
                (1, None | Some(Shape::Fixed64 { .. })) => {
                    let bits = reader.fixed64()?;
                    if let Some(field) = known
                        && field.rule != 0
                        && is_checked
                        && let rule = &RULES[usize::from(field.rule)]
                        && let Some(reason) = number_fault(rule, f64::from_bits(bits))
                    {
                        self.found(rule.severity, reason, start, || path(place, Some(field), None));
                    }
                }
                (5, None | Some(Shape::Fixed32 { .. })) => {
                    reader.skip(4)?;
                }
                (2, None | Some(Shape::Bytes)) => {
                    reader.chunk()?;
                }
                (2, Some(Shape::Text)) => {
                    let text = reader.chunk()?;
                    std::str::from_utf8(text).map_err(|_| "a text that is not UTF-8")?;
                    if let Some(field) = known
                        && field.rule != 0
                        && is_checked
                        && let rule = &RULES[usize::from(field.rule)]
                        && let Some(reason) = text_fault(rule, text)
                    {
                        let index = (field.counter != 0).then(|| elements[counter(field)].0);
                        self.found(rule.severity, reason, start, || {
                            path(place, Some(field), index)
                        });
                    }
                }
                (2, Some(Shape::Message(inner))) => {
                    let chunk = reader.chunk()?;
                    if let Some(field) = known {
                        let index = if field.counter != 0 { elements[counter(field)].0 } else { 0 };
                        let here = Place { around: place, field, index, bytes: chunk };
                        let at = base + reader.at - chunk.len();
                        let is_checked = is_checked && field.is_checked;
                        self.message(chunk, at, inner, depth - 1, Some(&here), is_checked)?;
                    }
                }
                (2, Some(Shape::Varint { packable: true })) => {
                    let mut packed = Reader::new(reader.chunk()?);
                    let mut count = 0;
                    while !packed.is_done() {
                        packed.varint()?;
                        count += 1;
                    }
                    value = count;
                }
                (2, Some(Shape::Fixed64 { packable: true })) => {
                    value = whole_elements(reader.chunk()?, 8)?;
                }
                (2, Some(Shape::Fixed32 { packable: true })) => {
                    value = whole_elements(reader.chunk()?, 4)?;
                }
                // Groups are of the time before proto3; nothing here ever had one.
                (3 | 4, _) => return Err("a group, which no message here has"),
                _ => return Err("a field of another wire type"),
            }
            if let Some(field) = known
                && field.counter != 0
            {
                let (count, first) = &mut elements[counter(field)];
                if *count == 0 {
                    *first = start;
                }
                // Of packed elements the value is their number.
                let more = if wire == 2 { value as u32 } else { 1 };
                *count = count.saturating_add(more);
            } else if place.is_none() && number < 128 && (wire != 0 || value != 0) {
                self.present |= 1 << number;
            }
        }
        for field in fields.iter().filter(|field| field.counter != 0 && field.rule != 0) {
            let rule = &RULES[usize::from(field.rule)];
            let (count, first) = elements[counter(field)];
            if is_checked && count > rule.max_items {
                self.found(rule.severity, "more elements than allowed", first, || {
                    path(place, Some(field), None)
                });
            }
        }
        Ok(())
    }

    #[cold]
    fn found(
        &mut self,
        severity: u8,
        reason: &'static str,
        at: usize,
        path: impl FnOnce() -> String,
    ) {
        if severity <= NOTE {
            self.noted += 1;
        } else if self.broken.len() < FINDINGS_MAX {
            self.broken.push(Broken { path: path(), finding: FindingAt { at, severity, reason } });
        }
    }
}

/// Place of a repeated field's count.
fn counter(field: &ShapeField) -> usize {
    usize::from(field.counter).wrapping_sub(1) % REPEATED_MAX
}

/// How many elements of this size a packed field holds.
fn whole_elements(chunk: &[u8], size: usize) -> Result<u64, Wrong> {
    if chunk.len().is_multiple_of(size) {
        Ok((chunk.len() / size) as u64)
    } else {
        Err("a field of another wire type")
    }
}

/// The path of a value, as its JSON has it.
fn path(around: Option<&Place<'_>>, field: Option<&ShapeField>, index: Option<u32>) -> String {
    let mut path = around.map_or_else(String::new, |place| {
        let index = (place.field.counter != 0).then_some(place.index);
        let mut path =
            self::path(place.around, Some(place.field), index.filter(|_| !place.field.is_map));
        if place.field.is_map {
            let mut entry = Reader::new(place.bytes);
            if let (Ok((1, 2)), Ok(key)) = (entry.tag(), entry.chunk()) {
                push(&mut path, &String::from_utf8_lossy(key));
            }
        }
        path
    });
    if let Some(field) = field {
        push(&mut path, field.name);
    }
    if let Some(index) = index {
        path.push_str(&format!("[{index}]"));
    }
    shortened(&path, PATH_MAX).to_owned()
}

/// Adds a name to a path; none where the JSON has no key of its own.
fn push(path: &mut String, name: &str) {
    if !path.is_empty() && !name.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}
