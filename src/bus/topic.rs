//! Topics and the patterns that select them.
//!
//! A topic is lower-case words joined by dots. In a pattern `*` stands for one word and a last `>` for one word and all
//! that follow. A wildcard in first place does not select dead letters: who subscribes to everything must not be
//! handed back what it gave up.

use std::fmt;

/// First word of the topics of events given up.
pub const DEAD_LETTER: &str = "dead_letter";
/// Longest topic or pattern, in bytes.
pub const TOPIC_BYTES_MAX: usize = 256;

/// The topic of an event type; `None` for a number that the schema does not have.
pub fn of_type(event_type: i32) -> Option<&'static str> {
    jimbot_proto::event_spec(event_type).map(|spec| spec.topic)
}

/// Whether `topic` can be published to.
pub fn validate(topic: &str) -> Result<(), BadPattern> {
    check(topic, false)
}

/// Selects topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

/// Why a text is no topic or pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPattern {
    text: String,
    reason: &'static str,
}

impl fmt::Display for BadPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}`: {}. Patterns look like `game.hand.played`, `game.*.changed`, `game.>`",
            self.text, self.reason
        )
    }
}

impl std::error::Error for BadPattern {}

impl Pattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Pattern, BadPattern> {
        check(text, true)?;
        Ok(Pattern(text.to_owned()))
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether some topic could be selected by both, as NATS sees it (it knows no dead letters).
    pub fn overlaps(&self, other: &Pattern) -> bool {
        let (mut mine, mut theirs) = (self.0.split('.'), other.0.split('.'));
        loop {
            match (mine.next(), theirs.next()) {
                (None, None) | (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
                (Some(a), Some(b)) if a == b || a == "*" || b == "*" => {}
                _ => return false,
            }
        }
    }

    /// Whether every topic that `other` selects is selected by this one too.
    pub fn covers(&self, other: &Pattern) -> bool {
        let (mut mine, mut theirs) = (self.0.split('.'), other.0.split('.'));
        loop {
            match (mine.next(), theirs.next()) {
                (None, None) | (Some(">"), Some(_)) => return true,
                (Some("*"), Some(b)) if b != ">" => {}
                (Some(a), Some(b)) if a == b => {}
                _ => return false,
            }
        }
    }

    /// Whether the pattern selects `topic`.
    pub fn matches(&self, topic: &str) -> bool {
        let mut words = topic.split('.');
        for (at, wanted) in self.0.split('.').enumerate() {
            let Some(word) = words.next() else { return false };
            match wanted {
                "*" | ">" if at == 0 && word == DEAD_LETTER => return false,
                ">" => return true,
                "*" => {}
                wanted if wanted != word => return false,
                _ => {}
            }
        }
        words.next().is_none()
    }
}

fn check(text: &str, wildcards: bool) -> Result<(), BadPattern> {
    let bad = |reason| {
        let shown: String = text.chars().take(64).collect();
        Err(BadPattern { text: shown, reason })
    };
    if text.is_empty() {
        return bad("it is empty");
    }
    if text.len() > TOPIC_BYTES_MAX {
        return bad("it is longer than 256 bytes");
    }
    let last = text.split('.').count() - 1;
    for (at, word) in text.split('.').enumerate() {
        match word {
            "" => return bad("a word between dots is empty"),
            "*" | ">" if !wildcards => {
                return bad("wildcards select topics, they can't be published to");
            }
            ">" if at != last => return bad("`>` stands only at the end"),
            "*" | ">" => {}
            word if word.contains(['*', '>']) => return bad("a wildcard stands for a whole word"),
            word if !word
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-') =>
            {
                return bad("words are letters, digits, `_` and `-`");
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wildcards_stand_for_whole_words() {
        let cases = [
            ("game.hand.played", "game.hand.played", true),
            ("game.hand.played", "game.hand", false),
            ("game.hand", "game.hand.played", false),
            ("game.*.played", "game.hand.played", true),
            ("game.*", "game.hand.played", false),
            ("*.hand.*", "game.hand.played", true),
            ("game.>", "game.hand.played", true),
            ("game.>", "game", false),
            ("game.hand.played.>", "game.hand.played", false),
            (">", "system.heartbeat", true),
            (">", "dead_letter.trainer", false),
            ("*.trainer", "dead_letter.trainer", false),
            ("dead_letter.>", "dead_letter.trainer", true),
        ];
        for (pattern, topic, wanted) in cases {
            assert_eq!(
                Pattern::parse(pattern).unwrap().matches(topic),
                wanted,
                "{pattern} {topic}"
            );
        }
    }

    #[test]
    fn patterns_are_held_against_each_other() {
        for (one, other, overlaps, covers) in [
            ("game.>", "game.hand.played", true, true),
            ("game.hand.played", "game.>", true, false),
            ("game.*.played", "game.hand.*", true, false),
            ("game.*.played", "game.hand.played", true, true),
            ("game.*", "game.>", true, false),
            ("game.>", "system.>", false, false),
            ("game.hand", "game.hand.played", false, false),
            ("game.>", "game.>", true, true),
        ] {
            let (one, other) = (Pattern::parse(one).unwrap(), Pattern::parse(other).unwrap());
            assert_eq!(
                (one.overlaps(&other), one.covers(&other)),
                (overlaps, covers),
                "{one:?} {other:?}"
            );
            assert_eq!(one.overlaps(&other), other.overlaps(&one));
        }
    }

    #[test]
    fn bad_patterns_are_refused_with_the_reason() {
        for text in [
            "",
            ".",
            "game.",
            ".game",
            "game..x",
            "game.>.x",
            "ga*me",
            "game.x>",
            "spiel.übung",
            "a b",
            &"x".repeat(257),
        ] {
            let error = Pattern::parse(text).unwrap_err().to_string();
            assert!(error.contains("Patterns look like"), "{error}");
        }
        assert!(validate("game.*").is_err() && validate("game.hand").is_ok());
    }

    #[test]
    fn every_event_type_has_a_valid_topic_outside_dead_letters() {
        for spec in jimbot_proto::EVENT_TYPES {
            validate(spec.topic).unwrap();
            assert!(Pattern::parse(">").unwrap().matches(spec.topic), "{}", spec.topic);
        }
        assert_eq!(of_type(0), None);
        assert_eq!(of_type(99_999), None);
    }

    proptest! {
        #[test]
        fn a_topic_selects_itself(topic in "[a-z_]{1,5}(\\.[a-z_]{1,5}){0,4}") {
            prop_assert!(Pattern::parse(&topic).unwrap().matches(&topic));
        }

        #[test]
        fn any_text_is_judged_without_panic(text in "\\PC{0,40}") {
            let _ = Pattern::parse(&text).map(|pattern| pattern.matches("game.hand.played"));
        }
    }
}
