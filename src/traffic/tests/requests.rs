//! Batches and the canonical workloads have the shapes and sizes that measurements rely on.

use std::collections::BTreeSet;

use jimbot_traffic::workload::{Body, Stream, Workload};
use jimbot_traffic::{Batcher, Clock, Game, GameOptions, VirtualClock};
use serde_json::Value;

fn bodies(workload: Workload, count: usize) -> Vec<Body> {
    let mut stream = Stream::new(workload, 42, Clock::EXAMPLE);
    (0..count).map(|_| stream.next_body()).collect()
}

fn mean_size(workload: Workload) -> usize {
    let bodies = bodies(workload, 40);
    bodies.iter().map(|body| body.bytes.len()).sum::<usize>() / bodies.len()
}

#[test]
fn canonical_bodies_have_their_canonical_sizes() {
    assert!((185..=195).contains(&mean_size(Workload::Small)), "{}", mean_size(Workload::Small));
    let state = mean_size(Workload::GameState);
    assert!((9_300..=9_900).contains(&state), "{state}");
    let batch = mean_size(Workload::Batch50);
    assert!((55_000..=59_000).contains(&batch), "{batch}");
}

#[test]
fn every_id_stands_where_the_body_says_and_is_unique() {
    for (name, workload) in Workload::ALL {
        let mut seen = BTreeSet::new();
        for body in bodies(workload, 60) {
            let json: Value = serde_json::from_slice(&body.bytes).unwrap();
            let ids: Vec<&str> = match json["events"].as_array() {
                Some(events) => {
                    events.iter().map(|event| event["event_id"].as_str().unwrap()).collect()
                }
                None => vec![json["event_id"].as_str().unwrap()],
            };
            let marked: Vec<&str> = body
                .ids
                .iter()
                .map(|range| std::str::from_utf8(&body.bytes[range.clone()]).unwrap())
                .collect();
            assert_eq!(ids, marked, "{name}");
            assert_eq!(body.batch, json["events"].is_array());
            assert!(ids.into_iter().all(|id| seen.insert(id.to_owned())), "{name} repeats an id");
        }
    }
}

#[test]
fn a_cascade_is_full_batches_of_small_events() {
    for body in bodies(Workload::Cascade, 20) {
        assert_eq!(body.events(), 50);
        assert!(body.bytes.len() < 20_000, "{}", body.bytes.len());
    }
}

#[test]
fn the_mod_sends_when_a_batch_is_full_or_old() {
    let mut game = Game::new(&GameOptions::default());
    let mut batcher = Batcher::new(50, 1);
    let mut time = VirtualClock::starting_at(Clock::EXAMPLE);
    assert!(!batcher.due(time.now()) && batcher.take(time.now()).is_none());
    batcher.push(game.next_event(time.now()), time.now());
    assert!(!batcher.due(time.now()));
    time.advance(100.0);
    assert!(batcher.due(time.now()));
    for _ in 0..60 {
        batcher.push(game.next_event(time.now()), time.now());
    }
    let batch = batcher.take(time.now()).unwrap();
    let json: Value = serde_json::from_slice(&batch.body).unwrap();
    assert_eq!(json["events"].as_array().unwrap().len(), 50);
    assert_eq!(json["timestamp"], 1_772_000_000_000_u64);
    assert_eq!((batch.ids.len(), batcher.waiting()), (50, 11));
}
