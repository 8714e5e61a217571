//! What a restart must not forget.

use jimbot_core::log::{MemoryLog, MemoryLogOptions, flags};
use jimbot_core::service::Notice;

use crate::harness::{Harness, batch, config, event, mod_post, start, state};

/// Kills the service and starts another one on what it left.
fn restart(harness: Harness) -> Harness {
    let now = harness.now;
    let log: MemoryLog = harness.service.into_log().killed_and_reopened(now);
    let mut next = Harness::with(config(), log);
    next.now = now.plus(1_000_000_000);
    next
}

#[test]
fn repeats_are_recognised_and_stored_events_are_there() {
    let mut harness = Harness::new();
    let numbered = r#"{"type":"MONEY_CHANGED","timestamp":9,"event_id":"n","producer":"mod-1","producer_sequence":7,"payload":{}}"#;
    let unknown = r#"{"type":"NEVER_SEEN","timestamp":9,"event_id":"u","payload":{}}"#;
    let body = batch(&[event("a", 1.0), event("b", 2.0), numbered.into(), unknown.into()]);
    let id = harness.connect();
    assert_eq!(harness.request(id, mod_post("/api/v1/events/batch", &body)).json()["stored"], 4);
    assert_eq!(harness.service.log().frames().count(), 0, "acknowledged and not yet committed");

    let mut harness = restart(harness);
    let stored = harness.stored();
    assert_eq!(stored.len(), 4);
    assert!(stored.iter().all(|(entry, _)| entry.flags & flags::RECOVERED != 0));
    let id = harness.connect();
    let answer = harness.request(id, mod_post("/api/v1/events/batch", &body)).json();
    assert_eq!((&answer["stored"], &answer["repeated"]), (&0.into(), &4.into()));
}

#[test]
fn a_session_goes_on_with_its_game_and_its_clock() {
    let mut harness = Harness::new();
    let id = harness.connect();
    let body = batch(&[state("a", 500_000.0, "7LB2WVPK"), event("b", 500_001.0)]);
    harness.request(id, mod_post("/api/v1/events/batch", body));
    let before = harness.stored()[1].0;

    let mut harness = restart(harness);
    let id = harness.connect();
    let late = batch(&[event("c", 499_000.0), event("d", 500_002.0)]);
    harness.request(id, mod_post("/api/v1/events/batch", late));
    harness.request(id, mod_post("/api/v1/events/batch", batch(&[event("e", 10.0)])));
    let stored = harness.stored();
    assert_eq!((stored[3].0.session, stored[3].0.game_key), (before.session, before.game_key));
    assert_eq!(stored[2].0.flags & flags::OUT_OF_ORDER, flags::OUT_OF_ORDER);
    assert_ne!(stored[4].0.session, before.session, "a game that was started anew");
}

#[test]
fn sequences_go_on() {
    let mut harness = Harness::new();
    harness.post("/api/v1/events", event("a", 1.0));
    let mut harness = restart(harness);
    harness.post("/api/v1/events", event("b", 2.0));
    let sequences: Vec<u64> = harness.stored().iter().map(|(entry, _)| entry.sequence).collect();
    assert_eq!(sequences, [1, 2]);
}

/// An event of a producer that numbers its events.
fn numbered(producer: &str, number: u64) -> String {
    format!(
        r#"{{"type":"MONEY_CHANGED","timestamp":9,"event_id":"{producer}-{number}","producer":"{producer}","producer_sequence":{number},"payload":{{}}}}"#
    )
}

/// What becomes of one event: whether it was stored.
fn is_stored(harness: &mut Harness, event: &str) -> bool {
    let answer = harness.post("/api/v1/events", event).json();
    assert_eq!(answer["status"], "ok", "{answer}");
    answer["stored"] == 1
}

/// A log that keeps eight batches.
fn small_log() -> MemoryLog {
    MemoryLog::new(MemoryLogOptions { frames_kept: 8, ..MemoryLogOptions::default() })
}

/// Stores so many events that nobody numbers, each in a batch of its own.
fn lap(harness: &mut Harness, batches: u64) {
    for _ in 0..batches {
        let next = harness.service.next_sequence();
        assert!(is_stored(harness, &event(&format!("other-{next}"), next as f64)));
        harness.service.idle(harness.now);
    }
}

/// Whether the log itself still holds an event of a producer.
fn holds(harness: &Harness, producer: &str) -> bool {
    harness.stored().iter().any(|(_, event)| event.producer.as_deref() == Some(producer))
}

#[test]
fn a_producer_lapped_in_the_ring_before_a_kill_is_known_after_it() {
    // Wherever the kill comes between two checkpoints, or behind several.
    for batches in 0..40 {
        let mut harness = Harness::with(config(), small_log());
        for number in [1, 2, 5] {
            assert!(is_stored(&mut harness, &numbered("mod-1", number)));
        }
        lap(&mut harness, batches);
        // They are committed with the first of the others.
        assert_eq!(holds(&harness, "mod-1"), batches <= 8, "{batches}");
        let mut harness = restart(harness);
        // Once more around, and killed again: what was learnt from the checkpoint is in the next one, too.
        lap(&mut harness, batches);
        let mut harness = restart(harness);
        for number in [1, 2, 5] {
            assert!(!is_stored(&mut harness, &numbered("mod-1", number)), "{batches}: {number}");
        }
        for number in [3, 4, 6] {
            assert!(is_stored(&mut harness, &numbered("mod-1", number)), "{batches}: {number}");
        }
        assert!(is_stored(&mut harness, &numbered("mod-2", 1)));
    }
}

#[test]
fn a_rotated_log_knows_producers_from_the_log_before_it() {
    let mut harness = Harness::with(config(), small_log());
    assert!(is_stored(&mut harness, &numbered("mod-1", 7)));
    lap(&mut harness, 20);
    let options = MemoryLogOptions { epoch: 2, id_key: [9; 16], ..MemoryLogOptions::default() };
    let log = harness.service.into_log().killed_and_rotated(options);
    let mut harness = Harness::with(config(), log);
    assert_eq!(harness.stored().len(), 0, "it is another log, with another key");
    assert!(!is_stored(&mut harness, &numbered("mod-1", 7)));
    assert!(is_stored(&mut harness, &numbered("mod-1", 8)));
    let mut harness = restart(harness);
    for number in [7, 8] {
        assert!(!is_stored(&mut harness, &numbered("mod-1", number)));
    }
}

#[test]
fn a_log_made_anew_stores_what_only_a_lost_one_held() {
    let mut harness = Harness::with(config(), small_log());
    assert!(is_stored(&mut harness, &numbered("mod-1", 7)));
    harness.service.commit_all(harness.now);
    let left = harness.service.into_log().checkpoint_mut().take();
    let mut log =
        MemoryLog::new(MemoryLogOptions { epoch: 2, frames_kept: 8, ..Default::default() });
    *log.checkpoint_mut() = left;
    let mut harness = Harness::with(config(), log);
    assert!(is_stored(&mut harness, &numbered("mod-1", 7)), "nobody can read the other one");
    assert_eq!(
        harness.notices[0].to_string(),
        "what is beside the log of producers' numbers is not used: it belongs to another log; \
         numbers that the log itself no longer holds are stored again when they are sent again"
    );
    // It is replaced by the new log's own.
    lap(&mut harness, 20);
    let mut harness = restart(harness);
    assert!(!is_stored(&mut harness, &numbered("mod-1", 7)));
}

#[test]
fn a_damaged_checkpoint_is_ignored_counted_and_replaced() {
    let mut harness = Harness::with(config(), small_log());
    assert!(is_stored(&mut harness, &numbered("lapped", 1)));
    lap(&mut harness, 20);
    assert!(is_stored(&mut harness, &numbered("held", 1)));
    let mut log = harness.service.into_log().killed_and_reopened(start());
    log.checkpoint_mut().as_mut().expect("it was written")[40] ^= 1;
    let mut harness = Harness::with(config(), log);
    harness.turn();
    assert!(harness.notices[0].to_string().contains("it is damaged"), "{:?}", harness.notices);
    let ignored = "jimbot_mcp_producer_checkpoints_total{result=\"ignored\"} 1\n";
    assert!(harness.get("/metrics").body.contains(ignored));
    assert!(!is_stored(&mut harness, &numbered("held", 1)), "the ring alone counts");
    assert!(is_stored(&mut harness, &numbered("lapped", 1)), "stored again rather than lost");
    lap(&mut harness, 20);
    let mut harness = restart(harness);
    for producer in ["held", "lapped"] {
        assert!(!is_stored(&mut harness, &numbered(producer, 1)));
    }
}

#[test]
fn a_checkpoint_that_cannot_be_written_is_told_once_and_tried_again() {
    let mut harness = Harness::with(config(), small_log());
    harness.service.log_mut().set_fails_checkpoints(true);
    assert!(is_stored(&mut harness, &numbered("mod-1", 1)));
    lap(&mut harness, 6);
    harness.turn();
    let said = harness.notices.iter().filter(|it| matches!(it, Notice::ProducersNotKept { .. }));
    assert_eq!(said.count(), 1);
    let failed = "jimbot_mcp_producer_checkpoints_total{result=\"failed\"} 3\n";
    let metrics = harness.get("/metrics").body;
    assert!(metrics.contains(failed), "{metrics}");
    harness.service.log_mut().set_fails_checkpoints(false);
    lap(&mut harness, 20);
    let mut harness = restart(harness);
    assert!(!is_stored(&mut harness, &numbered("mod-1", 1)));
}

#[test]
fn where_nobody_numbers_events_nothing_is_written() {
    let mut harness = Harness::with(config(), small_log());
    lap(&mut harness, 40);
    harness.service.commit_all(harness.now);
    assert_eq!(*harness.service.log_mut().checkpoint_mut(), None);
}

#[test]
fn an_orderly_end_leaves_everything_beside_the_log() {
    let mut harness = Harness::with(config(), small_log());
    assert!(is_stored(&mut harness, &numbered("mod-1", 1)));
    harness.service.commit_all(harness.now);
    let left = harness.service.into_log().checkpoint_mut().take();
    let mut log = small_log();
    *log.checkpoint_mut() = left;
    let mut harness = Harness::with(config(), log);
    assert!(!is_stored(&mut harness, &numbered("mod-1", 1)));
}
