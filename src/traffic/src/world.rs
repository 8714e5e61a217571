//! The model of one run: what a state reports and what the script of a run changes.

use fastrand::Rng;

use crate::cards::{BOSSES, CONSUMABLES, Card, HANDS, Joker, pick, standard_deck};

/// The alphabet of run seeds; Balatro leaves out the letter O and the digit 0.
const SEED_LETTERS: &[u8] = b"123456789ABCDEFGHIJKLMNPQRSTUVWXYZ";

/// How the hands of a run score.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cascades {
    /// Fewest and most joker triggers of a scored hand.
    pub(crate) triggers: (u32, u32),
}

/// Everything the game knows about the run in progress.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) game_id: String,
    pub(crate) in_game: bool,
    pub(crate) phase: &'static str,
    pub(crate) ante: u32,
    pub(crate) round: u32,
    pub(crate) hand_number: u32,
    pub(crate) hands_remaining: u32,
    pub(crate) discards_remaining: u32,
    pub(crate) money: i64,
    pub(crate) chips: f64,
    pub(crate) mult: f64,
    pub(crate) blind_goal: f64,
    pub(crate) blind_name: &'static str,
    pub(crate) blind_is_boss: bool,
    pub(crate) blind_defeated: bool,
    pub(crate) deck: Vec<Card>,
    /// Positions in `deck` of the cards not drawn yet.
    pub(crate) undrawn: Vec<usize>,
    /// Positions in `deck` of the cards in hand.
    pub(crate) hand: Vec<usize>,
    pub(crate) jokers: Vec<Joker>,
    pub(crate) consumables: Vec<usize>,
    pub(crate) score_history: Vec<f64>,
    pub(crate) frames: u32,
    pub(crate) card_text_ids: bool,
    next_joker_id: u32,
}

/// A scored hand: what the script reports about it.
#[derive(Clone, Debug)]
pub(crate) struct Scored {
    pub(crate) hand_type: &'static str,
    pub(crate) cards: Vec<String>,
    pub(crate) before: f64,
    pub(crate) after: f64,
    pub(crate) triggers: Vec<Trigger>,
}

/// One joker that fired while a hand was scored.
#[derive(Clone, Debug)]
pub(crate) struct Trigger {
    pub(crate) joker: usize,
    pub(crate) contribution: f64,
    pub(crate) total: f64,
}

impl World {
    pub(crate) fn new(seed: u64) -> World {
        let mut rng = Rng::with_seed(seed);
        let card_text_ids = rng.u8(..4) == 0;
        World {
            rng,
            game_id: "unknown".to_owned(),
            in_game: false,
            phase: "MENU",
            ante: 1,
            round: 0,
            hand_number: 0,
            hands_remaining: 4,
            discards_remaining: 3,
            money: 4,
            chips: 0.0,
            mult: 0.0,
            blind_goal: 300.0,
            blind_name: "Small Blind",
            blind_is_boss: false,
            blind_defeated: false,
            deck: standard_deck(),
            undrawn: Vec::new(),
            hand: Vec::new(),
            jokers: Vec::new(),
            consumables: Vec::new(),
            score_history: Vec::new(),
            frames: 0,
            card_text_ids,
            next_joker_id: 100,
        }
    }

    /// Starts a run with a seed of its own.
    pub(crate) fn start_run(&mut self) {
        let game_id = (0..8).map(|_| char::from(pick(&mut self.rng, SEED_LETTERS))).collect();
        let frames = self.frames;
        *self = World { rng: self.rng.clone(), frames, ..World::new(0) };
        self.card_text_ids = self.rng.u8(..4) == 0;
        self.game_id = game_id;
        self.in_game = true;
    }

    /// Goes on to the next round: its blind, a shuffled deck and a full hand.
    pub(crate) fn start_round(&mut self) {
        self.round += 1;
        self.ante = (self.round - 1) / 3 + 1;
        self.hand_number = 0;
        self.hands_remaining = 4;
        self.discards_remaining = 3;
        self.chips = 0.0;
        self.mult = 0.0;
        self.blind_is_boss = self.round.is_multiple_of(3);
        self.blind_name = match self.round % 3 {
            1 => "Small Blind",
            2 => "Big Blind",
            _ => pick(&mut self.rng, &BOSSES),
        };
        let step = [1.0, 1.5, 2.0][((self.round - 1) % 3) as usize];
        self.blind_goal = (300.0 * 2.3_f64.powi(self.ante as i32 - 1) * step).round();
        self.blind_defeated = false;
        self.undrawn = (0..self.deck.len()).collect();
        let mut order = std::mem::take(&mut self.undrawn);
        self.rng.shuffle(&mut order);
        self.undrawn = order;
        self.hand.clear();
        self.draw();
    }

    fn draw(&mut self) {
        while self.hand.len() < 8 {
            let Some(card) = self.undrawn.pop() else { break };
            self.hand.push(card);
        }
    }

    /// Takes up to five cards out of the hand and draws new ones.
    fn replace_cards(&mut self) -> Vec<usize> {
        let count = self.rng.usize(1..=5).min(self.hand.len());
        let taken = self.hand.drain(..count).collect();
        self.draw();
        taken
    }

    pub(crate) fn discard(&mut self) -> Vec<String> {
        self.discards_remaining -= 1;
        self.replace_cards().iter().map(|&at| self.deck[at].short()).collect()
    }

    /// Plays a hand and adds up what its jokers give.
    pub(crate) fn play_hand(&mut self, cascades: Cascades) -> Scored {
        self.hand_number += 1;
        self.hands_remaining -= 1;
        let cards = self.replace_cards().iter().map(|&at| self.deck[at].short()).collect();
        let before = self.chips;
        let base = f64::from(self.rng.u32(20..=160)) * 1.9_f64.powi(self.ante as i32 - 1);
        let (fewest, most) = cascades.triggers;
        let count = if self.jokers.is_empty() { 0 } else { self.rng.u32(fewest..=most) };
        let mut total = before + base;
        let mut triggers = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let joker = self.rng.usize(..self.jokers.len());
            let contribution = (base * (0.05 + self.rng.f64() * 0.4)).round();
            total += contribution;
            triggers.push(Trigger { joker, contribution, total });
        }
        self.chips = total;
        self.mult = f64::from(self.rng.u32(1..=400)) / 2.0;
        self.score_history.push(total - before);
        Scored { hand_type: pick(&mut self.rng, &HANDS), cards, before, after: total, triggers }
    }

    /// Buys a joker when there is money and room; tells its cost.
    pub(crate) fn buy_joker(&mut self) -> Option<u32> {
        let joker = Joker::random(&mut self.rng, self.next_joker_id);
        if self.jokers.len() >= 5 || i64::from(joker.cost) > self.money {
            return None;
        }
        self.next_joker_id += 1;
        self.money -= i64::from(joker.cost);
        let cost = joker.cost;
        self.jokers.push(joker);
        Some(cost)
    }

    /// Gives the run jokers without paying, for workloads that start in the middle of one.
    pub(crate) fn grant_jokers(&mut self, count: usize) {
        for _ in 0..count {
            self.jokers.push(Joker::random(&mut self.rng, self.next_joker_id));
            self.next_joker_id += 1;
        }
    }

    /// Adds cards to the deck, as boosters do.
    pub(crate) fn add_cards(&mut self, count: usize) {
        for extra in 0..count {
            let mut card = self.deck[extra].clone();
            card.id = self.deck.len() as u32 + 1;
            card.enhance(&mut self.rng);
            self.deck.push(card);
        }
    }

    pub(crate) fn sell_joker(&mut self) -> Option<Joker> {
        (self.jokers.len() > 3).then(|| {
            let sold = self.jokers.remove(0);
            self.money += i64::from((sold.cost / 2).max(1));
            sold
        })
    }

    /// Changes one card of the deck: the only thing that makes `full_deck` differ.
    pub(crate) fn enhance_card(&mut self) -> usize {
        let at = self.rng.usize(..self.deck.len());
        self.deck[at].enhance(&mut self.rng);
        at
    }

    pub(crate) fn take_consumable(&mut self) {
        if self.consumables.len() < 2 {
            let which = self.rng.usize(..CONSUMABLES.len());
            self.consumables.push(which);
        } else {
            self.consumables.clear();
        }
    }
}
