//! Any text as a topic pattern, two lines of it as a pattern and a topic: what is taken selects as its words say.
#![no_main]

use jimbot_mcp::bus::topic::{self, Pattern};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let (pattern, topic) = text.split_once('\n').unwrap_or((text, "game.hand.played"));
    let Ok(parsed) = Pattern::parse(pattern) else {
        assert!(topic::validate(pattern).is_err(), "every topic is a pattern");
        return;
    };
    assert_eq!(parsed.as_str(), pattern);
    if topic::validate(pattern).is_ok() {
        assert!(parsed.matches(pattern), "without wildcards it selects itself");
    }
    if topic::validate(topic).is_ok() {
        let words: Vec<&str> = topic.split('.').collect();
        assert_eq!(parsed.matches(topic), selects(pattern, &words), "{pattern} {topic}");
    }
});

fn selects(pattern: &str, words: &[&str]) -> bool {
    let wanted: Vec<&str> = pattern.split('.').collect();
    if words[0] == topic::DEAD_LETTER && ["*", ">"].contains(&wanted[0]) {
        return false;
    }
    let open = wanted.last() == Some(&">");
    let fixed = wanted.len() - usize::from(open);
    (if open { words.len() > fixed } else { words.len() == fixed })
        && wanted[..fixed].iter().zip(words).all(|(wanted, word)| *wanted == "*" || wanted == word)
}
