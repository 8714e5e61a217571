//! The payload of a GAME_STATE: the whole game, two thirds of it the full deck.

use std::borrow::Cow;

use crate::cards::{CONSUMABLES, Joker};
use crate::value::{Value, table};
use crate::world::World;

impl World {
    /// The state as the mod reports it; what it sends from the menu is much shorter.
    pub(crate) fn state(&mut self) -> Value {
        if !self.in_game {
            return table! {
                "in_game" => false,
                "timestamp" => Value::UnixSeconds,
                "phase" => "MENU",
            };
        }
        self.frames += 60;
        let mut state = table! {
            "in_game" => true,
            "game_id" => self.game_id.clone(),
            "ante" => self.ante,
            "round" => self.round,
            "hand_number" => self.hand_number,
            "hand_size" => 8.0,
            "hands_remaining" => self.hands_remaining,
            "discards_remaining" => self.discards_remaining,
            "chips" => self.chips,
            "mult" => self.mult,
            "money" => self.money,
            "game_state" => self.phase,
            "ui_state" => self.ui_state(),
            "timestamp" => Value::UnixSeconds,
            "frame_count" => self.frames,
            "jokers" => self.joker_list(),
            "hand" => self.hand_list(),
            "deck" => self.deck_value(),
            "consumables" => self.consumable_list(),
            "shop_items" => self.shop_items(),
            "score_history" => self.history(),
        };
        if self.phase == "PLAYING" {
            state.set("blind", self.blind());
        }
        state
    }

    pub(crate) fn joker_list(&self) -> Value {
        Value::List(
            self.jokers.iter().enumerate().map(|(position, joker)| joker.value(position)).collect(),
        )
    }

    fn ui_state(&self) -> &'static str {
        match self.phase {
            "PLAYING" => "HAND_SELECT",
            "SHOP" => "SHOP_OPEN",
            _ => "IDLE",
        }
    }

    fn hand_list(&self) -> Value {
        let cards = self.hand.iter().enumerate();
        Value::List(
            cards.map(|(place, &at)| self.deck[at].value(place, self.card_text_ids)).collect(),
        )
    }

    fn deck_value(&self) -> Value {
        let list = |cards: &mut dyn Iterator<Item = usize>| {
            Value::List(
                cards
                    .enumerate()
                    .map(|(place, at)| self.deck[at].value(place, self.card_text_ids))
                    .collect(),
            )
        };
        table! {
            "remaining_count" => self.undrawn.len(),
            "cards_remaining" => list(&mut self.undrawn.iter().rev().take(5).copied()),
            "full_deck" => list(&mut (0..self.deck.len())),
        }
    }

    fn consumable_list(&self) -> Value {
        let held = self.consumables.iter().enumerate();
        Value::List(
            held.map(|(position, &which)| {
                let (name, card_type) = CONSUMABLES[which];
                table! {
                    "id" => 900 + which,
                    "name" => name,
                    "card_type" => card_type,
                    "position" => position,
                    "properties" => table! { "cost" => 3.0, "edition" => "none" },
                }
            })
            .collect(),
        )
    }

    fn shop_items(&mut self) -> Value {
        let mut items = table! {};
        if self.phase == "SHOP" {
            for key in ["joker_1", "joker_2"] {
                let joker = Joker::random(&mut self.rng, 0);
                // The rarity is a number in some versions and a word in others.
                let rarity = if self.rng.bool() { Value::from(1.0) } else { "Common".into() };
                items.set(
                    key,
                    table! { "name" => joker.name, "cost" => joker.cost, "rarity" => rarity },
                );
            }
            items.set("booster_1", table! { "name" => "Arcana Pack", "cost" => 4.0 });
            items.set("voucher_1", table! { "name" => "Overstock", "cost" => 10.0 });
        }
        items
    }

    fn blind(&self) -> Value {
        let boss = if self.blind_is_boss {
            table! { "name" => self.blind_name, "showdown" => false }
        } else {
            Value::from(false)
        };
        table! {
            "name" => self.blind_name,
            "chip_text" => format!("{}", self.blind_goal),
            "chips" => self.blind_goal,
            "mult" => 2.0,
            "defeated" => self.blind_defeated,
            "boss" => boss,
        }
    }

    fn history(&self) -> Value {
        let scores = self.score_history.iter().enumerate().rev().take(4);
        Value::Table(
            scores
                .map(|(hand, &score)| (Cow::Owned(format!("hand_{}", hand + 1)), score.into()))
                .collect(),
        )
    }
}
