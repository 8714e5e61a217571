//! The words each kind of client has for what happens in a game.

use crate::script::Moment;
use crate::value::{Value, table};
use crate::world::World;

/// Which kind of client a game speaks as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The BalatroMCP mod: upper-case types, `payload`, monotonic milliseconds.
    Mod,
    /// The older WebSocket clients: lower-case types, `data`, epoch seconds.
    WebSocket,
    /// Scripts: `event_type`, `game_state`, ISO 8601 times.
    Script,
}

/// An event before it gets its envelope.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) type_name: &'static str,
    pub(crate) subtype: Option<&'static str>,
    pub(crate) payload: Option<Value>,
    pub(crate) priority: Option<&'static str>,
    pub(crate) initial: bool,
    /// The connection test carries `data` instead of `payload`.
    pub(crate) data: Option<Value>,
}

fn draft(type_name: &'static str, payload: Value) -> Option<Draft> {
    Some(Draft {
        type_name,
        subtype: None,
        payload: Some(payload),
        priority: None,
        initial: false,
        data: None,
    })
}

fn scoring(subtype: &'static str, payload: Value) -> Option<Draft> {
    draft("SCORING", payload).map(|draft| Draft { subtype: Some(subtype), ..draft })
}

/// What the mod says of a moment; `None` where it says nothing.
pub(crate) fn mod_words(moment: &Moment, world: &mut World) -> Option<Draft> {
    match moment {
        Moment::ConnectionTest => Some(Draft {
            type_name: "connection_test",
            subtype: None,
            payload: None,
            priority: None,
            initial: false,
            data: Some(table! { "message" => "BalatroMCP connection test" }),
        }),
        Moment::Heartbeat => draft(
            "HEARTBEAT",
            table! {
                "version" => "0.1.0",
                "uptime" => Value::MonotonicMs,
                "headless" => false,
                "game_state" => if world.in_game { "5" } else { "unknown" },
            },
        )
        .map(|draft| Draft { priority: Some("low"), ..draft }),
        Moment::Diagnostic => draft(
            "DIAGNOSTIC",
            table! {
                "available_functions" => FUNCTIONS.map(Value::from).to_vec(),
                "g_exists" => true,
                "g_funcs_exists" => true,
                "g_game_exists" => world.in_game,
                "g_state" => "11",
            },
        )
        .map(|draft| Draft { priority: Some("low"), ..draft }),
        Moment::State { initial } => {
            draft("GAME_STATE", world.state()).map(|draft| Draft { initial: *initial, ..draft })
        }
        Moment::Money { old, new } => draft(
            "MONEY_CHANGED",
            table! { "old_value" => *old, "new_value" => *new, "difference" => new - old },
        ),
        Moment::Score { old_chips, old_mult } => draft(
            "SCORE_CHANGED",
            table! {
                "old_chips" => *old_chips,
                "new_chips" => world.chips,
                "old_mult" => *old_mult,
                "new_mult" => world.mult,
            },
        ),
        Moment::HandPlayed(_) => draft(
            "HAND_PLAYED",
            table! {
                "hands_remaining" => world.hands_remaining,
                "hand_number" => world.hand_number,
            },
        ),
        Moment::Discarded(_) => {
            draft("CARDS_DISCARDED", table! { "discards_remaining" => world.discards_remaining })
        }
        Moment::Jokers { old, new } => draft(
            "JOKERS_CHANGED",
            table! { "old_count" => *old, "new_count" => *new, "jokers" => world.joker_list() },
        ),
        Moment::RoundChanged => {
            draft("ROUND_CHANGED", table! { "ante" => world.ante, "round" => world.round })
        }
        Moment::Phase { old, new } => {
            draft("PHASE_CHANGED", table! { "old_phase" => *old, "new_phase" => *new })
        }
        Moment::RoundComplete => draft(
            "ROUND_COMPLETE",
            table! {
                "ante" => world.ante,
                "round" => world.round,
                "score" => world.chips,
                "money" => world.money,
            },
        ),
        Moment::Decision => {
            let request = world.rng.u32(1000..10_000);
            let actions = ["play_hand", "discard", "sort_hand"].map(Value::from).to_vec();
            let payload = table! {
                "request_id" => format!("REQ-1772000000-{request}"),
                "game_state" => world.state(),
                "available_actions" => if world.rng.u8(..4) == 0 { Vec::new() } else { actions },
                "time_limit_ms" => 1000.0,
            };
            draft("LEARNING_DECISION", payload).map(|draft| Draft {
                subtype: Some("REQUEST"),
                priority: Some("high"),
                ..draft
            })
        }
        Moment::Error => draft(
            "ERROR",
            table! {
                "message" => "attempt to index a nil value (field 'config')",
                "context" => table! { "function" => "extract_jokers", "args" => vec![] },
                "stack_trace" => STACK_LINE.repeat(80),
            },
        )
        .map(|draft| Draft { priority: Some("high"), ..draft }),
        _ => mod_scoring_words(moment, world),
    }
}

fn mod_scoring_words(moment: &Moment, world: &World) -> Option<Draft> {
    match *moment {
        Moment::EvalStart { starting } => scoring(
            "HAND_EVAL_START",
            table! {
                "starting_score" => starting,
                "ante" => world.ante,
                "round" => world.round,
                "hand_number" => world.hand_number,
            },
        ),
        Moment::Trigger { joker, contribution, total } => {
            let owner = &world.jokers[joker];
            scoring(
                "JOKER_TRIGGER",
                table! {
                    "joker" => table! {
                        "name" => owner.name,
                        "id" => owner.id,
                        "position" => joker + 1,
                    },
                    "score_contribution" => contribution,
                    "current_total" => total,
                    "timestamp" => Value::MonotonicMs,
                },
            )
        }
        Moment::TriggerEcho { joker } => draft(
            "JOKER_TRIGGER",
            table! {
                "joker_name" => world.jokers[joker].name,
                "context_type" => if joker % 2 == 0 { Value::from(true) } else { "unknown".into() },
                "timestamp" => Value::MonotonicMs,
            },
        ),
        Moment::EvalComplete { starting, triggers } => scoring(
            "HAND_EVAL_COMPLETE",
            table! {
                "starting_score" => starting,
                "final_score" => world.chips,
                "total_delta" => world.chips - starting,
                "joker_triggers" => triggers,
                "ante" => world.ante,
                "round" => world.round,
                "hand_number" => world.hand_number,
            },
        ),
        Moment::ScoreUpdate { old, since } => scoring(
            "SCORE_UPDATE",
            table! {
                "previous_score" => old,
                "new_score" => world.chips,
                "delta" => world.chips - old,
                "total_hand_delta" => world.chips - since,
                "context" => "ease_chips",
                "timestamp" => Value::MonotonicMs,
            },
        ),
        Moment::MultUpdate { old } => scoring(
            "MULT_UPDATE",
            table! {
                "mult_before" => old,
                "mult_after" => world.mult,
                "delta" => world.mult - old,
                "source" => "joker",
                "timestamp" => Value::MonotonicMs,
            },
        ),
        Moment::ChipsUpdate { old } => scoring(
            "CHIPS_UPDATE",
            table! {
                "chips_before" => old,
                "chips_after" => world.chips,
                "delta" => world.chips - old,
                "source" => "card",
                "timestamp" => Value::MonotonicMs,
            },
        ),
        _ => None,
    }
}

/// What the older clients and scripts say of a moment; `None` where they say nothing.
pub(crate) fn client_words(moment: &Moment, world: &mut World) -> Option<Draft> {
    match moment {
        Moment::Heartbeat => draft("heartbeat", table! { "status" => "ok" }),
        Moment::State { .. } => draft("state_snapshot", world.state()),
        Moment::RunStarted => draft(
            "game_start",
            table! {
                "seed" => world.game_id.clone(),
                "stake" => 1.0,
                "deck" => "Red Deck",
                "starting_money" => world.money,
            },
        ),
        Moment::RunOver { won } => draft(
            "game_over",
            table! {
                "final_score" => world.score_history.iter().sum::<f64>(),
                "round_reached" => world.round,
                "reason" => if *won { "victory" } else { "out_of_hands" },
            },
        ),
        Moment::HandPlayed(scored) => {
            let cards = scored.cards.iter().map(|card| Value::from(card.clone())).collect();
            draft(
                "hand_played",
                table! {
                    "hand_type" => scored.hand_type,
                    "cards" => Value::List(cards),
                    "score" => scored.after - scored.before,
                    "multiplier" => world.mult,
                    "hands_remaining" => world.hands_remaining,
                },
            )
        }
        Moment::Discarded(cards) => {
            let cards = cards.iter().map(|card| Value::from(card.clone())).collect();
            draft(
                "card_discarded",
                table! {
                    "cards" => Value::List(cards),
                    "discards_remaining" => world.discards_remaining,
                },
            )
        }
        Moment::Phase { old, new } => {
            draft("state_change", table! { "old_state" => *old, "new_state" => *new })
        }
        Moment::BlindSelected => draft(
            "round_start",
            table! {
                "ante" => world.ante,
                "round" => world.round,
                "blind" => world.blind_name,
                "chips_required" => world.blind_goal,
            },
        ),
        Moment::RoundChanged => draft(
            "blind_selected",
            table! { "blind" => world.blind_name, "boss" => world.blind_is_boss },
        ),
        Moment::AnteChanged { old } => {
            draft("ante_change", table! { "old_ante" => *old, "new_ante" => world.ante })
        }
        Moment::BlindDefeated => {
            draft("blind_defeated", table! { "blind" => world.blind_name, "score" => world.chips })
        }
        Moment::RoundComplete => {
            draft("round_end", table! { "round" => world.round, "money" => world.money })
        }
        Moment::ShopEntered => {
            let items =
                [("joker", "j_joker", 5.0, "Joker"), ("booster", "p_arcana", 4.0, "Arcana")]
                    .map(|(item_type, id, cost, name)| {
                        table! { "type" => item_type, "id" => id, "cost" => cost, "name" => name }
                    })
                    .to_vec();
            draft(
                "shop_entered",
                table! {
                    "round" => world.round,
                    "money" => world.money,
                    "available_items" => items,
                },
            )
        }
        Moment::ShopLeft => draft("shop_exited", table! { "money" => world.money }),
        Moment::Bought { card_type, id, cost } => draft(
            "card_purchased",
            table! {
                "card_type" => *card_type,
                "card_id" => format!("j_{id}"),
                "cost" => *cost,
                "money_remaining" => world.money,
            },
        ),
        Moment::Sold { id, name } => {
            draft("card_sold", table! { "card_id" => format!("j_{id}"), "name" => *name })
        }
        Moment::BoosterOpened => draft("booster_opened", table! { "name" => "Arcana Pack" }),
        Moment::CardEnhanced { at } => {
            let card = &world.deck[*at];
            draft(
                "card_enhanced",
                table! {
                    "card" => card.short(),
                    "enhancement" => card.enhancement,
                    "edition" => card.edition,
                    "seal" => card.seal,
                },
            )
        }
        Moment::Trigger { joker, contribution, .. } => draft(
            "joker_triggered",
            table! { "joker" => world.jokers[*joker].name, "effect" => *contribution },
        ),
        Moment::Action { name } => draft("action", table! { "action" => *name }),
        Moment::Error => draft("error", table! { "message" => "state could not be read" }),
        _ => None,
    }
}

const FUNCTIONS: [&str; 12] = [
    "play_cards_from_highlighted",
    "discard_cards_from_highlighted",
    "sort_hand_value",
    "buy_from_shop",
    "open_booster",
    "reroll_shop",
    "toggle_shop",
    "select_blind",
    "skip_blind",
    "cash_out",
    "start_run",
    "go_to_menu",
];
const STACK_LINE: &str =
    "\t[string \"engine/controller.lua\"]:421: in function 'queue_R_cursor_press'\n";
