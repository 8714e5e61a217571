//! What an answer of the service says about the events that were sent.

use serde_json::Value;

/// The counts of one answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Events taken, repeats included.
    pub(super) accepted: u64,
    /// Taken ones that the service had already.
    pub(super) repeats: u64,
    /// Positions of refused events.
    pub(super) refused: Vec<usize>,
}

/// Reads the answer to a request or message of `sent` events. An answer without counts speaks
/// for all of them.
pub(super) fn read(answer: &[u8], sent: usize) -> Verdict {
    let answer: Value = serde_json::from_slice(answer).unwrap_or(Value::Null);
    let refused: Vec<usize> = answer["refused"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|refusal| refusal["index"].as_u64())
        .filter_map(|index| usize::try_from(index).ok())
        .collect();
    let repeats = answer["repeats"].as_u64().unwrap_or(0);
    let all = (sent - refused.len().min(sent)) as u64;
    let accepted = answer["accepted"].as_u64().map_or(all, |accepted| accepted.min(sent as u64));
    Verdict { accepted, repeats, refused }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_events_are_not_accepted() {
        let answer = br#"{"accepted":2,"repeats":1,"refused":[{"index":1,"reason":"no type"}]}"#;
        assert_eq!(read(answer, 3), Verdict { accepted: 2, repeats: 1, refused: vec![1] });
    }

    #[test]
    fn an_answer_without_counts_speaks_for_all() {
        assert_eq!(read(b"", 7), Verdict { accepted: 7, repeats: 0, refused: vec![] });
    }
}
