//! Cards, jokers and the names that Balatro gives them.

use fastrand::Rng;

use crate::value::{Value, table};

pub(crate) const RANKS: [&str; 13] =
    ["2", "3", "4", "5", "6", "7", "8", "9", "10", "Jack", "Queen", "King", "Ace"];
pub(crate) const SUITS: [&str; 4] = ["Hearts", "Diamonds", "Clubs", "Spades"];
const EDITIONS: [&str; 4] = ["foil", "holographic", "polychrome", "negative"];
const ENHANCEMENTS: [&str; 7] = ["bonus", "mult", "wild", "glass", "steel", "stone", "gold"];
const SEALS: [&str; 4] = ["Gold", "Red", "Blue", "Purple"];
pub(crate) const HANDS: [&str; 9] = [
    "High Card",
    "Pair",
    "Two Pair",
    "Three of a Kind",
    "Straight",
    "Flush",
    "Full House",
    "Four of a Kind",
    "Straight Flush",
];
pub(crate) const BOSSES: [&str; 8] = [
    "The Hook",
    "The Wall",
    "The Wheel",
    "The Arm",
    "The Psychic",
    "The Needle",
    "The Eye",
    "The Flint",
];
const JOKERS: [&str; 24] = [
    "Joker",
    "Greedy Joker",
    "Lusty Joker",
    "Jolly Joker",
    "Half Joker",
    "Four Fingers",
    "Mime",
    "Banner",
    "Mystic Summit",
    "8 Ball",
    "Raised Fist",
    "Fibonacci",
    "Steel Joker",
    "Scary Face",
    "Hack",
    "Even Steven",
    "Odd Todd",
    "Scholar",
    "Blackboard",
    "Ice Cream",
    "Baron",
    "Photograph",
    "Blueprint",
    "Caf\u{e9} Noir",
];
pub(crate) const CONSUMABLES: [(&str, &str); 6] = [
    ("The Fool", "Tarot"),
    ("The Magician", "Tarot"),
    ("Pluto", "Planet"),
    ("Jupiter", "Planet"),
    ("Aura", "Spectral"),
    ("Strength", "Tarot"),
];

pub(crate) fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.usize(..from.len())]
}

/// A playing card.
#[derive(Clone, Debug)]
pub(crate) struct Card {
    pub(crate) id: u32,
    pub(crate) rank: &'static str,
    pub(crate) suit: &'static str,
    pub(crate) enhancement: &'static str,
    pub(crate) edition: &'static str,
    pub(crate) seal: &'static str,
}

/// The 52 cards of a new run.
pub(crate) fn standard_deck() -> Vec<Card> {
    (0..52)
        .map(|index| Card {
            id: index as u32 + 1,
            rank: RANKS[index % 13],
            suit: SUITS[index / 13],
            enhancement: "none",
            edition: "none",
            seal: "none",
        })
        .collect()
}

impl Card {
    /// Gives the card a property, as a tarot or a booster does.
    pub(crate) fn enhance(&mut self, rng: &mut Rng) {
        match rng.u8(..3) {
            0 => self.enhancement = pick(rng, &ENHANCEMENTS),
            1 => self.edition = pick(rng, &EDITIONS[..3]),
            _ => self.seal = pick(rng, &SEALS),
        }
    }

    /// The card as states list it. Some games know no number for a card and send `card_<n>`.
    pub(crate) fn value(&self, position: usize, text_id: bool) -> Value {
        let id = if text_id { Value::from(format!("card_{}", self.id)) } else { self.id.into() };
        table! {
            "id" => id,
            "rank" => self.rank,
            "suit" => self.suit,
            "enhancement" => self.enhancement,
            "edition" => self.edition,
            "seal" => self.seal,
            "position" => position,
        }
    }

    /// The short form of the older clients: `"10H"`.
    pub(crate) fn short(&self) -> String {
        let rank = if self.rank == "10" { "10" } else { &self.rank[..1] };
        format!("{rank}{}", &self.suit[..1])
    }
}

/// A joker that the player owns.
#[derive(Clone, Debug)]
pub(crate) struct Joker {
    pub(crate) id: u32,
    pub(crate) name: &'static str,
    pub(crate) edition: &'static str,
    pub(crate) cost: u32,
    pub(crate) mult: f64,
    pub(crate) chips: f64,
}

impl Joker {
    pub(crate) fn random(rng: &mut Rng, id: u32) -> Joker {
        Joker {
            id,
            name: pick(rng, &JOKERS),
            edition: if rng.u8(..8) == 0 { pick(rng, &EDITIONS) } else { "none" },
            cost: rng.u32(2..=10),
            mult: f64::from(rng.u32(0..=40)) / 2.0,
            chips: f64::from(rng.u32(0..=150)),
        }
    }

    /// The joker as states list it, at a 0-based position.
    pub(crate) fn value(&self, position: usize) -> Value {
        table! {
            "id" => self.id,
            "name" => self.name,
            "position" => position,
            "properties" => table! {
                "mult" => self.mult,
                "chips" => self.chips,
                "cost" => self.cost,
                "sell_value" => (self.cost / 2).max(1),
            },
            "edition" => self.edition,
        }
    }
}
