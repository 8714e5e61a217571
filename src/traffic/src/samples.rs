//! One of everything, for tests of what reads events.

use crate::clock::Clock;
use crate::dialect::Dialect;
use crate::encode::KeyOrder;
use crate::game::{Event, Game, GameOptions};
use crate::quirks::{Oddity, Quirks};
use crate::script::Moment;

/// One event of every kind that the dialect has, from the middle of a run.
pub fn every_event(dialect: Dialect, seed: u64, key_order: KeyOrder) -> Vec<Event> {
    let mut game = Game::new(&GameOptions { seed, dialect, key_order, ..GameOptions::default() });
    let mut events = Vec::new();
    events.extend(game.say(&Moment::State { initial: true }, Clock::EXAMPLE));
    game.skip_to_play(4);
    let scored = game.world.play_hand(game.cascades);
    for moment in every_moment(scored) {
        events.extend(game.say(&moment, Clock::EXAMPLE));
    }
    events
}

/// One event for each oddity, most of them not strict JSON.
pub fn every_oddity(dialect: Dialect, seed: u64) -> Vec<Event> {
    let events = Oddity::ALL.iter().map(|&oddity| {
        let quirks = Quirks { share: 1.0, kinds: vec![oddity] };
        let mut game = Game::new(&GameOptions { seed, dialect, quirks, ..GameOptions::default() });
        game.skip_to_play(2);
        game.say(&Moment::RoundChanged, Clock::EXAMPLE).expect("every dialect tells a new round")
    });
    events.collect()
}

fn every_moment(scored: crate::world::Scored) -> Vec<Moment> {
    vec![
        Moment::ConnectionTest,
        Moment::Heartbeat,
        Moment::Diagnostic,
        Moment::State { initial: false },
        Moment::RunStarted,
        Moment::RunOver { won: false },
        Moment::Money { old: 4, new: 11 },
        Moment::Score { old_chips: 0.0, old_mult: 0.0 },
        Moment::HandPlayed(scored),
        Moment::Discarded(vec!["10H".to_owned(), "AS".to_owned()]),
        Moment::Jokers { old: 3, new: 4 },
        Moment::RoundChanged,
        Moment::Phase { old: "SHOP", new: "BLIND_SELECT" },
        Moment::RoundComplete,
        Moment::EvalStart { starting: 0.0 },
        Moment::Trigger { joker: 0, contribution: 30.0, total: 130.0 },
        Moment::TriggerEcho { joker: 0 },
        Moment::EvalComplete { starting: 0.0, triggers: 1 },
        Moment::ScoreUpdate { old: 10.0, since: 0.0 },
        Moment::MultUpdate { old: 1.0 },
        Moment::ChipsUpdate { old: 10.0 },
        Moment::Decision,
        Moment::Error,
        Moment::ShopEntered,
        Moment::ShopLeft,
        Moment::Bought { card_type: "joker", id: 7, cost: 5 },
        Moment::Sold { id: 7, name: "Joker" },
        Moment::BlindSelected,
        Moment::BlindDefeated,
        Moment::BoosterOpened,
        Moment::CardEnhanced { at: 3 },
        Moment::AnteChanged { old: 1 },
        Moment::Action { name: "play_hand" },
    ]
}
