//! `docs/shared-memory.md` says what the code does.

mod common;

use std::{collections::BTreeMap, fmt::Write, process::Command};

use common::{Home, event_bytes, frame, tiny};
use jimbot_shm::{LogWriter, layout};

const DOCUMENT: &str = include_str!("../../../docs/shared-memory.md");
const LAYOUT: &str = include_str!("../src/layout.rs");

/// Offset and type of each field, by section and name.
type Fields = BTreeMap<(String, String), (u64, String)>;

/// Rows `| offset | type | name | …` under headings `### section`.
fn documented() -> Fields {
    let mut fields = Fields::new();
    let mut section = "";
    for line in DOCUMENT.lines() {
        if let Some(heading) = line.strip_prefix("### ") {
            section = heading;
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let ["", offset, kind, name, ..] = cells[..]
            && let Ok(offset) = offset.parse()
        {
            let known = fields.insert((section.into(), name.into()), (offset, kind.into()));
            assert!(known.is_none(), "{section} {name} is there twice");
        }
    }
    fields
}

/// Constants `pub const NAME: u64 = offset;` in `pub mod section`, with the type that their comment begins with.
fn coded() -> Fields {
    let mut fields = Fields::new();
    let (mut section, mut kind, mut in_comment) = ("", "", false);
    for line in LAYOUT.lines() {
        if let Some(name) = line.strip_prefix("pub mod ") {
            section = name.trim_end_matches(" {");
        } else if line == "}" {
            section = "";
        }
        let line = line.trim();
        if let Some(comment) = line.strip_prefix("/// ") {
            // Its first line.
            if !in_comment {
                kind = comment.split_once(':').map_or("", |(kind, _)| kind);
            }
            in_comment = true;
            continue;
        }
        in_comment = false;
        if let Some((name, value)) =
            line.strip_prefix("pub const ").and_then(|rest| rest.split_once(": u64 = "))
            && let Ok(offset) = value.trim_end_matches(';').parse()
            && !section.is_empty()
            && !["END", "BYTES", "NAME_BYTES"].contains(&name)
        {
            fields.insert((section.into(), name.to_lowercase()), (offset, kind.into()));
        }
    }
    fields
}

#[test]
fn every_field_is_documented_where_it_is() {
    let (documented, mut coded) = (documented(), coded());
    // Two fields are areas, which their comments describe otherwise.
    coded.insert(
        ("readers".into(), "first_slot".into()),
        (layout::readers::FIRST_SLOT, "64 slots".into()),
    );
    coded.insert(("counters".into(), "names".into()), (layout::counters::NAMES, "names".into()));
    assert!(coded.len() > 60, "{} fields were found in the code", coded.len());
    for (field, place) in &coded {
        assert_eq!(documented.get(field), Some(place), "{field:?}");
    }
    for field in documented.keys() {
        assert!(coded.contains_key(field), "{field:?} is documented and does not exist");
    }
}

#[test]
fn the_numbers_in_its_text_are_those_of_the_code() {
    let says = |text: String| assert!(DOCUMENT.contains(&text), "it does not say {text:?}");
    says(format!("Layout version {}.", layout::LAYOUT_VERSION));
    for magic in [layout::LOG_MAGIC, layout::READERS_MAGIC, layout::COUNTERS_MAGIC] {
        says(format!(
            "the bytes `{}`",
            std::str::from_utf8(&magic.to_le_bytes()).expect("letters")
        ));
    }
    says(format!("up to {} readers", layout::READER_SLOTS));
    says(format!(
        "| 4096 | {} slots | first_slot | {} bytes each |",
        layout::READER_SLOTS,
        layout::slot::BYTES
    ));
    says(format!("The *stage*, from {} on", layout::STAGE_OFFSET));
    says(format!("{} bytes each, UTF-8", layout::counters::NAME_BYTES));
    says(format!("`capacity` is at least {} · `max_frame`", layout::MIN_FRAMES));
    says(format!("{} PAD, {} RECOVERED", layout::FRAME_PAD, layout::FRAME_RECOVERED));
}

#[test]
fn a_reader_written_from_it_in_another_language_reads_the_same() {
    let home = Home::new();
    let mut writer = LogWriter::open(home.path(), &tiny()).expect("open");
    // Past a lap's end, so that there are PAD frames and overwritten ones.
    for round in 0..60 {
        frame(&mut writer, 1 + round % 7, 100 + round as usize);
    }
    let mut expected = String::new();
    writer.scan(|entry, bytes| {
        assert_eq!(bytes, event_bytes(entry.sequence, bytes.len()));
        writeln!(expected, "{} {} {}", entry.sequence, entry.event_type, crc32(bytes))
            .expect("a string");
    });
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/other_language.py");
    let output = Command::new("python3")
        .arg(script)
        .arg(home.path())
        .output()
        .expect("python3 is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    assert!(expected.lines().count() > 50);
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}
