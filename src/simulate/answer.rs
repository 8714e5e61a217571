//! What an answer of the service says about the events that were sent.

use serde_json::Value;

/// The counts of one answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Events taken, repeats included.
    pub(super) accepted: u64,
    /// Taken ones that the service had already.
    pub(super) repeats: u64,
    /// Events refused.
    pub(super) refused: u64,
    /// Positions of the refused ones, as far as they are listed.
    pub(super) refused_at: Vec<usize>,
}

/// Reads the answer to a request or message of `sent` events: counts of an HTTP answer, or an
/// ack. A body that could not be read as a whole is stored in other pieces than it was sent in;
/// then what was not refused is accepted.
pub(super) fn read(answer: &[u8], sent: usize) -> Verdict {
    let answer: Value = serde_json::from_slice(answer).unwrap_or(Value::Null);
    let count = |key: &str| answer[key].as_u64();
    let errors = answer["errors"].as_array().into_iter().flatten();
    let refused = count("refused").unwrap_or(0).min(sent as u64);
    let rest = sent as u64 - refused;
    let kept = count("ack").or_else(|| Some(count("stored")? + count("repeated")?));
    let accepted = match kept {
        Some(kept) if count("unreadable").is_none() => kept.min(rest),
        _ => rest,
    };
    Verdict {
        accepted,
        repeats: count("repeated").unwrap_or(0),
        refused,
        refused_at: errors
            .filter_map(|error| usize::try_from(error["index"].as_u64()?).ok())
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_events_are_not_accepted() {
        let answer = br#"{"status":"partial","stored":1,"repeated":1,"refused":1,
            "errors":[{"index":1,"field":"type","reason":"missing"}]}"#;
        let expected = Verdict { accepted: 2, repeats: 1, refused: 1, refused_at: vec![1] };
        assert_eq!(read(answer, 3), expected);
    }

    #[test]
    fn a_salvaged_body_is_accepted_as_a_whole() {
        let answer = br#"{"status":"ok","stored":3,"repeated":0,"unreadable":1}"#;
        assert_eq!(read(answer, 5).accepted, 5);
    }

    #[test]
    fn an_ack_counts_what_it_says() {
        assert_eq!(read(br#"{"ack":1,"seq":77}"#, 1).accepted, 1);
    }
}
