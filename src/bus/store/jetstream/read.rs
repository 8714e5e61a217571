//! Reading the stream: what of it the servers hand out, and how messages become runs.

use std::sync::{Arc, PoisonError};

use async_nats::jetstream;
use async_nats::jetstream::consumer::{self, DeliverPolicy, pull};
use bytes::Bytes;
use futures_util::StreamExt as _;
use jimbot_proto::events::v1::GapReason;

use super::super::{Lost, Page, Run, StoreError, StoreReader};
use super::setup::roots;
use super::{FETCH_EVENTS, FETCH_WAIT, Shared, unavailable};
use crate::bus::scan;
use crate::bus::topic::{self, Pattern};

/// Subjects that a consumer may be asked to select; a filter with more is applied here only.
const SUBJECTS_MAX: usize = 64;

/// What of a filter the servers can select: they take subjects that lie in the stream and have nothing in common with
/// each other. Empty: they hand out everything.
fn subjects(wanted: &[Pattern]) -> Vec<String> {
    let roots = roots();
    let mut chosen: Vec<&Pattern> = Vec::new();
    for pattern in wanted {
        let mut words = pattern.as_str().split('.');
        let inside =
            words.next().is_some_and(|root| roots.contains(&root)) && words.next().is_some();
        if !inside {
            return Vec::new();
        }
        if !chosen.iter().any(|other| other.covers(pattern)) {
            chosen.retain(|other| !pattern.covers(other));
            chosen.push(pattern);
        }
    }
    let apart = chosen
        .iter()
        .enumerate()
        .all(|(at, one)| chosen[at + 1..].iter().all(|other| !one.overlaps(other)));
    if !apart || chosen.len() > SUBJECTS_MAX {
        return Vec::new();
    }
    chosen.iter().map(|pattern| pattern.as_str().to_owned()).collect()
}

/// Gathers messages that follow each other into runs.
#[derive(Default)]
pub(super) struct Runs {
    done: Vec<Run>,
    open: Option<(Run, Vec<u8>)>,
}

impl Runs {
    pub(super) fn push(&mut self, message: &jetstream::Message) -> Result<(), StoreError> {
        let info = message.info().map_err(unavailable)?;
        let fields = scan::fields(&message.payload).unwrap_or_default();
        let subject = message.subject.as_str();
        let own = topic::of_type(fields.event_type) == Some(subject);
        let topic: Option<Arc<str>> = (!own).then(|| subject.into());
        let position = info.stream_sequence;
        let time_unix_ns = u64::try_from(info.published.unix_timestamp_nanos()).unwrap_or(0);
        if let Some((run, elements)) = &mut self.open
            && run.next() == position
            && run.topic == topic
        {
            run.count += 1;
            scan::push_element(elements, &message.payload);
            return Ok(());
        }
        self.close();
        let run = Run { first: position, count: 1, time_unix_ns, topic, elements: Bytes::new() };
        let mut elements = Vec::new();
        scan::push_element(&mut elements, &message.payload);
        self.open = Some((run, elements));
        Ok(())
    }

    fn close(&mut self) {
        if let Some((run, elements)) = self.open.take() {
            self.done.push(Run { elements: elements.into(), ..run });
        }
    }

    pub(super) fn finish(mut self) -> Vec<Run> {
        self.close();
        self.done
    }
}

pub(super) struct Reader {
    shared: Arc<Shared>,
    /// Subjects that the servers select; empty for all.
    subjects: Vec<String>,
    /// A consumer for old events, and the position that it delivers next.
    open: Option<(consumer::Consumer<pull::Config>, u64)>,
}

impl Reader {
    /// A reader of what `wanted` selects, or of everything where the servers can't.
    pub(super) fn new(shared: Arc<Shared>, wanted: &[Pattern]) -> Reader {
        Reader { shared, subjects: subjects(wanted), open: None }
    }

    /// What a consumer finds from `from` on.
    async fn fetch(&mut self, from: u64, max_bytes: usize) -> Result<Vec<Run>, StoreError> {
        let consumer = match self.open.take() {
            Some((consumer, next)) if next == from => consumer,
            _ => {
                let start_sequence = from.max(1);
                let policy = DeliverPolicy::ByStartSequence { start_sequence };
                self.shared.consumer(policy, false, self.subjects.clone()).await?
            }
        };
        let fetching = consumer
            .fetch()
            .max_messages(FETCH_EVENTS)
            .max_bytes(max_bytes.max(1 << 20))
            .messages();
        let mut messages = tokio::time::timeout(FETCH_WAIT, fetching)
            .await
            .map_err(|_| unavailable("no answer"))?
            .map_err(unavailable)?;
        let mut runs = Runs::default();
        while let Some(message) = messages.next().await {
            runs.push(&message.map_err(unavailable)?)?;
        }
        let runs = runs.finish();
        self.open = Some((consumer, runs.last().map_or(from, Run::next)));
        Ok(runs)
    }

    /// Whether the stream holds something of the subjects at `from` or later. The stream's leader is asked: a node that a
    /// consumer lives on may be behind it, and its silence means nothing.
    async fn is_more(&self, from: u64) -> Result<bool, StoreError> {
        use async_nats::jetstream::stream::LastRawMessageErrorKind::NoMessageFound;
        for subject in &self.subjects {
            let asking = self.shared.stream.get_first_raw_message_by_subject(subject, from);
            let found = tokio::time::timeout(FETCH_WAIT, asking)
                .await
                .map_err(|_| unavailable("no answer"))?;
            match found {
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == NoMessageFound => {}
                Err(error) => return Err(unavailable(error)),
            }
        }
        Ok(false)
    }

    /// Why there is nothing from `from` on although something stands behind it.
    async fn reason(&self, from: u64) -> Result<GapReason, StoreError> {
        let info = tokio::time::timeout(FETCH_WAIT, self.shared.stream.get_info())
            .await
            .map_err(|_| unavailable("no answer"))?
            .map_err(unavailable)?;
        let removed = from < info.state.first_sequence;
        Ok(if removed { GapReason::Retention } else { GapReason::Deleted })
    }
}

#[tonic::async_trait]
impl StoreReader for Reader {
    async fn read(&mut self, from: u64, max_bytes: usize) -> Result<Page, StoreError> {
        let earliest = self.shared.earliest.lock().unwrap_or_else(PoisonError::into_inner).0;
        if from >= earliest
            && let Some(page) = self.shared.tail.read(from, max_bytes)
        {
            self.open = None;
            return Ok(page);
        }
        let selects = !self.subjects.is_empty();
        if selects && from < earliest {
            // What of it was wanted is not known any more.
            let lost = Lost { first: from, next: earliest, reason: GapReason::Retention };
            return Ok(Page { lost: Some(lost), next: earliest, ..Page::default() });
        }
        let end = *self.shared.next.borrow();
        let mut runs = self.fetch(from, max_bytes).await?;
        if selects {
            let next = match runs.last() {
                Some(last) => last.next(),
                // Nothing up to the end is wanted.
                None if end > from && !self.is_more(from).await? => end,
                None => from,
            };
            return Ok(Page { runs, next, ..Page::default() });
        }
        // A position with nothing at it: what stands before it goes first.
        let whole = runs.windows(2).take_while(|pair| pair[0].next() == pair[1].first).count();
        runs.truncate(whole + 1);
        let first = runs.first().map_or(from, |run| run.first);
        let lost = match first > from {
            true => Some(Lost { first: from, next: first, reason: self.reason(from).await? }),
            false => None,
        };
        let next = runs.last().map_or(from, Run::next);
        Ok(Page { runs, lost, next, ..Page::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_are_asked_for_what_they_can_select_and_no_less() {
        let all: [&str; 0] = [];
        for (wanted, asked) in [
            (
                &["game.hand.>", "game.hand.played", "system.error"][..],
                &["game.hand.>", "system.error"][..],
            ),
            (&["game.hand.played", "game.>"], &["game.>"]),
            (&["game.*.played", "game.hand.*"], &all),
            (&["*.hand.>"], &all),
            (&[">"], &all),
            (&["elsewhere.>"], &all),
            (&[], &all),
        ] {
            let patterns: Vec<Pattern> =
                wanted.iter().map(|text| Pattern::parse(text).unwrap()).collect();
            assert_eq!(subjects(&patterns), asked, "{wanted:?}");
        }
    }
}
