//! Which events a subscription or a look into the past wants.

use jimbot_proto::events::v1::EventFilter;

use super::scan::Fields;
use super::topic::{BadPattern, Pattern};

/// Most entries of one list of a filter.
pub const FILTER_ENTRIES_MAX: usize = 1024;

/// Why a filter can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadFilter {
    /// A topic pattern is none.
    Pattern(BadPattern),
    /// A list is longer than [`FILTER_ENTRIES_MAX`].
    TooLong(&'static str),
}

impl std::fmt::Display for BadFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BadFilter::Pattern(bad) => write!(f, "topics: {bad}"),
            BadFilter::TooLong(list) => {
                write!(
                    f,
                    "{list}: more than {FILTER_ENTRIES_MAX} entries; leave the list empty and select on your side"
                )
            }
        }
    }
}

/// A filter that has been checked. Empty lists want all; the lists together narrow.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    topics: Vec<Pattern>,
    game_keys: Vec<u64>,
    sessions: Vec<u64>,
    sources: Vec<Vec<u8>>,
    types: Vec<i32>,
}

impl Filter {
    /// Checks a filter that came over the wire.
    pub fn new(filter: &EventFilter) -> Result<Filter, BadFilter> {
        let lists = [
            ("topics", filter.topics.len()),
            ("game_keys", filter.game_keys.len()),
            ("sessions", filter.sessions.len()),
            ("sources", filter.sources.len()),
            ("types", filter.types.len()),
        ];
        if let Some((name, _)) = lists.iter().find(|(_, len)| *len > FILTER_ENTRIES_MAX) {
            return Err(BadFilter::TooLong(name));
        }
        let topics = filter.topics.iter().map(|text| Pattern::parse(text));
        Ok(Filter {
            topics: topics.collect::<Result<_, _>>().map_err(BadFilter::Pattern)?,
            game_keys: sorted(filter.game_keys.clone()),
            sessions: sorted(filter.sessions.clone()),
            sources: sorted(filter.sources.iter().map(|text| text.clone().into_bytes()).collect()),
            types: sorted(filter.types.clone()),
        })
    }

    /// Whether events under an explicit topic are wanted whatever is in them, so that nobody needs to look.
    pub fn wants_all(&self) -> bool {
        self.wants_all_but_topics() && self.topics.iter().any(|pattern| pattern.as_str() == ">")
            || self.wants_all_but_topics() && self.topics.is_empty()
    }

    /// What of the topics can be wanted, for stores that hand out less than all; empty for anything.
    pub fn topics(&self) -> Vec<Pattern> {
        if !self.topics.is_empty() {
            return self.topics.clone();
        }
        // Who names no topic wants no dead letters, and everything else lies under the topic of its type.
        let topics = self.types.iter().filter_map(|number| super::topic::of_type(*number));
        topics.filter_map(|topic| Pattern::parse(topic).ok()).collect()
    }

    fn wants_all_but_topics(&self) -> bool {
        self.game_keys.is_empty()
            && self.sessions.is_empty()
            && self.sources.is_empty()
            && self.types.is_empty()
    }

    /// Whether an event is wanted. `topic` is where it was published.
    pub fn wants(&self, topic: &str, event: &Fields<'_>) -> bool {
        self.wants_topic(topic)
            && allows(&self.game_keys, &event.game_key)
            && allows(&self.sessions, &event.session)
            && (self.sources.is_empty()
                || self
                    .sources
                    .binary_search_by(|source| source.as_slice().cmp(event.source))
                    .is_ok())
            && allows(&self.types, &event.event_type)
    }

    /// Whether a topic is wanted. Without patterns all are, but for dead letters.
    pub fn wants_topic(&self, topic: &str) -> bool {
        if self.topics.is_empty() {
            return !topic.starts_with(super::topic::DEAD_LETTER);
        }
        self.topics.iter().any(|pattern| pattern.matches(topic))
    }
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort_unstable();
    list
}

fn allows<T: Ord>(list: &[T], value: &T) -> bool {
    list.is_empty() || list.binary_search(value).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(change: impl FnOnce(&mut EventFilter)) -> Filter {
        let mut wanted = EventFilter::default();
        change(&mut wanted);
        Filter::new(&wanted).unwrap()
    }

    #[test]
    fn lists_narrow_together() {
        let event =
            Fields { game_key: 7, event_type: 2, source: b"BalatroMCP", ..Fields::default() };
        assert!(filter(|_| ()).wants("game.state.update", &event));
        assert!(!filter(|_| ()).wants("dead_letter.x", &event));
        assert!(
            filter(|f| f.topics = vec!["system.>".into(), "game.>".into()])
                .wants("game.state.update", &event)
        );
        assert!(!filter(|f| f.topics = vec!["system.>".into()]).wants("game.state.update", &event));
        assert!(
            filter(|f| {
                f.game_keys = vec![9, 7];
                f.sources = vec!["BalatroMCP".into()]
            })
            .wants("game.state.update", &event)
        );
        assert!(
            !filter(|f| {
                f.game_keys = vec![7];
                f.types = vec![3]
            })
            .wants("game.state.update", &event)
        );
        assert!(
            filter(|f| f.topics = vec![">".into()]).wants_all()
                && !filter(|f| f.types = vec![3]).wants_all()
        );
    }

    #[test]
    fn lists_are_bounded() {
        let wanted = EventFilter { types: vec![1; FILTER_ENTRIES_MAX + 1], ..Default::default() };
        assert!(Filter::new(&wanted).unwrap_err().to_string().starts_with("types"));
    }
}
