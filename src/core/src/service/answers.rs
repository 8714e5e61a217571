//! What senders of events are told.

use std::io::Write;

use crate::http::{Prepared, Response, Status};
use crate::limits;
use crate::service::intake::Totals;

/// Answers that are written once.
#[derive(Debug)]
pub(super) struct Answers {
    /// One event stored, nothing else to say.
    pub(super) one_stored: Prepared,
    /// A buffer for all others.
    pub(super) text: Vec<u8>,
}

impl Answers {
    pub(super) fn new() -> Answers {
        let mut text = Vec::with_capacity(1024);
        write_totals(&mut text, &Totals { stored: 1, ..Totals::default() });
        Answers { one_stored: Prepared::new(&Response::json(&text)), text }
    }
}

/// The status for what came of a body: the mod is never answered 4xx, others when nothing of theirs was kept.
pub(super) fn status(totals: &Totals, is_lenient: bool) -> Status {
    if !is_lenient && totals.refused > 0 && totals.stored + totals.repeated == 0 {
        Status::BAD_REQUEST
    } else {
        Status::OK
    }
}

/// Appends what came of a body, as a JSON object.
pub(super) fn write_totals(text: &mut Vec<u8>, totals: &Totals) {
    let kept = totals.stored + totals.repeated;
    let status = match (totals.refused, kept) {
        (0, _) => "ok",
        (_, 0) => "refused",
        _ => "partial",
    };
    // Writing into a vector does not fail.
    let _ = write!(
        text,
        "{{\"status\":\"{status}\",\"stored\":{},\"repeated\":{}",
        totals.stored, totals.repeated
    );
    if totals.unreadable > 0 {
        let _ = write!(
            text,
            ",\"unreadable\":{},\"note\":\"what could not be read is stored as it came, as an event of its own\"",
            totals.unreadable
        );
    }
    if totals.refused > 0 {
        let _ = write!(text, ",\"refused\":{},\"errors\":", totals.refused);
        write_refusals(text, totals);
    }
    text.extend_from_slice(b"}\n");
}

/// Appends the refusals as a JSON list.
pub(super) fn write_refusals(text: &mut Vec<u8>, totals: &Totals) {
    text.push(b'[');
    for (i, refusal) in totals.refusals.iter().enumerate() {
        if i > 0 {
            text.push(b',');
        }
        let _ = write!(text, "{{\"index\":{},\"field\":", refusal.index);
        write_text(text, &refusal.field);
        text.extend_from_slice(b",\"reason\":");
        write_text(text, &refusal.reason);
        text.push(b'}');
    }
    text.push(b']');
}

/// Appends a JSON string, cut at [`limits::REFUSAL_TEXT_MAX`] bytes.
pub(super) fn write_text(text: &mut Vec<u8>, value: &str) {
    let mut end = value.len().min(limits::REFUSAL_TEXT_MAX);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    let _ = serde_json::to_writer(text, &value[..end]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::Refusal;

    fn text(totals: &Totals) -> String {
        let mut text = Vec::new();
        write_totals(&mut text, totals);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn an_answer_says_what_was_kept_and_names_what_was_not() {
        assert_eq!(
            text(&Totals { stored: 2, repeated: 1, ..Totals::default() }),
            "{\"status\":\"ok\",\"stored\":2,\"repeated\":1}\n"
        );
        let refusal =
            Refusal { index: 4, field: "type".into(), reason: format!("\"{}", "é".repeat(500)) };
        let totals = Totals { stored: 1, refused: 1, refusals: vec![refusal], ..Totals::default() };
        let answer: serde_json::Value = serde_json::from_str(&text(&totals)).unwrap();
        assert_eq!(answer["status"], "partial");
        assert_eq!(answer["errors"][0]["index"], 4);
        assert!(answer["errors"][0]["reason"].as_str().unwrap().len() <= limits::REFUSAL_TEXT_MAX);
    }

    #[test]
    fn only_strict_senders_whose_events_were_all_refused_get_400() {
        let refused = Totals { refused: 1, ..Totals::default() };
        assert_eq!(status(&refused, false), Status::BAD_REQUEST);
        assert_eq!(status(&refused, true), Status::OK);
        assert_eq!(
            status(&Totals { refused: 1, repeated: 1, ..Totals::default() }, false),
            Status::OK
        );
        assert_eq!(status(&Totals::default(), false), Status::OK);
    }
}
