//! The story of a game: from the menu through rounds, shops and scored hands to its end, and on
//! to the next run.

use crate::game::Game;
use crate::world::{Scored, World};

/// Milliseconds between two frames at 60 a second.
const FRAME_MS: f64 = 1000.0 / 60.0;
/// How often the mod sends a heartbeat.
const HEARTBEAT_MS: f64 = 5_000.0;
/// Rounds after which a run ends at the latest.
const ROUNDS_MAX: u32 = 24;

/// Something that happened in the game. Each dialect has its own words for it, or none.
#[derive(Clone, Debug)]
pub(crate) enum Moment {
    ConnectionTest,
    Heartbeat,
    Diagnostic,
    State { initial: bool },
    RunStarted,
    RunOver { won: bool },
    Money { old: i64, new: i64 },
    Score { old_chips: f64, old_mult: f64 },
    HandPlayed(Scored),
    Discarded(Vec<String>),
    Jokers { old: usize, new: usize },
    RoundChanged,
    Phase { old: &'static str, new: &'static str },
    RoundComplete,
    EvalStart { starting: f64 },
    Trigger { joker: usize, contribution: f64, total: f64 },
    TriggerEcho { joker: usize },
    EvalComplete { starting: f64, triggers: usize },
    ScoreUpdate { old: f64, since: f64 },
    MultUpdate { old: f64 },
    ChipsUpdate { old: f64 },
    Decision,
    Error,
    ShopEntered,
    ShopLeft,
    Bought { card_type: &'static str, id: u32, cost: u32 },
    Sold { id: u32, name: &'static str },
    BlindSelected,
    BlindDefeated,
    BoosterOpened,
    CardEnhanced { at: usize },
    AnteChanged { old: u32 },
    Action { name: &'static str },
}

/// Where the story stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Launch,
    Menu,
    BlindSelect,
    Playing,
    RoundEval,
    Shop,
    Over,
}

impl Game {
    /// Tells the next part of the story; at least one moment of it has words in every dialect.
    pub(crate) fn advance(&mut self) {
        self.stage = match self.stage {
            Stage::Launch => self.launch(),
            Stage::Menu => self.start_run(),
            Stage::BlindSelect => self.select_blind(),
            Stage::Playing => self.play(),
            Stage::RoundEval => self.evaluate_round(),
            Stage::Shop => self.visit_shop(),
            Stage::Over => self.end_run(),
        };
    }

    fn launch(&mut self) -> Stage {
        self.tell(0.0, Moment::ConnectionTest);
        self.tell(200.0, Moment::Diagnostic);
        self.tell(0.0, Moment::State { initial: true });
        self.tell(50.0, Moment::Heartbeat);
        Stage::Menu
    }

    fn start_run(&mut self) -> Stage {
        let old = self.world.phase;
        self.world.start_run();
        self.tell(1_500.0, Moment::RunStarted);
        self.enter(old, "BLIND_SELECT");
        Stage::BlindSelect
    }

    fn enter(&mut self, old: &'static str, new: &'static str) {
        self.world.phase = new;
        self.tell(FRAME_MS, Moment::Phase { old, new });
        self.tell(0.0, Moment::State { initial: false });
    }

    fn select_blind(&mut self) -> Stage {
        let ante = self.world.ante;
        self.world.start_round();
        self.tell(900.0, Moment::BlindSelected);
        self.tell(0.0, Moment::RoundChanged);
        if self.world.ante != ante {
            self.tell(0.0, Moment::AnteChanged { old: ante });
        }
        // A new round resets both counters, and the mod reports that as if they were played.
        let reset = Scored {
            hand_type: "High Card",
            cards: Vec::new(),
            before: 0.0,
            after: 0.0,
            triggers: Vec::new(),
        };
        self.tell(0.0, Moment::HandPlayed(reset));
        self.enter("BLIND_SELECT", "PLAYING");
        Stage::Playing
    }

    fn play(&mut self) -> Stage {
        self.heartbeat_when_due();
        if self.world.rng.u8(..3) == 0 {
            self.tell(300.0, Moment::Decision);
        }
        if self.world.discards_remaining > 0 && self.world.rng.bool() {
            let cards = self.world.discard();
            self.tell(400.0, Moment::Action { name: "discard" });
            self.tell(100.0, Moment::Discarded(cards));
            self.tell(FRAME_MS, Moment::State { initial: false });
        }
        self.tell(400.0, Moment::Action { name: "play_hand" });
        self.score_hand();
        if self.world.chips >= self.world.blind_goal {
            Stage::RoundEval
        } else if self.world.hands_remaining == 0 {
            Stage::Over
        } else {
            Stage::Playing
        }
    }

    /// A scored hand: its start, each trigger twice, its end, and a state.
    pub(crate) fn score_hand(&mut self) {
        let (old_chips, old_mult) = (self.world.chips, self.world.mult);
        let scored = self.world.play_hand(self.cascades);
        self.tell(600.0, Moment::HandPlayed(scored.clone()));
        self.tell(FRAME_MS, Moment::EvalStart { starting: scored.before });
        for trigger in &scored.triggers {
            let (joker, contribution, total) = (trigger.joker, trigger.contribution, trigger.total);
            self.tell(FRAME_MS, Moment::Trigger { joker, contribution, total });
            self.tell(0.0, Moment::TriggerEcho { joker });
        }
        if self.world.rng.u8(..4) == 0 {
            self.tell(0.0, Moment::ChipsUpdate { old: old_chips });
            self.tell(0.0, Moment::MultUpdate { old: old_mult });
            self.tell(0.0, Moment::ScoreUpdate { old: old_chips, since: scored.before });
        }
        let triggers = scored.triggers.len();
        self.tell(FRAME_MS, Moment::EvalComplete { starting: scored.before, triggers });
        self.tell(FRAME_MS, Moment::Score { old_chips, old_mult });
        self.tell(FRAME_MS, Moment::State { initial: false });
    }

    fn evaluate_round(&mut self) -> Stage {
        self.world.blind_defeated = true;
        self.tell(300.0, Moment::BlindDefeated);
        self.enter("PLAYING", "ROUND_EVAL");
        self.tell(0.0, Moment::RoundComplete);
        let old = self.world.money;
        self.world.money += 4 + i64::from(self.world.hands_remaining);
        self.tell(800.0, Moment::Money { old, new: self.world.money });
        if self.world.round >= ROUNDS_MAX {
            return Stage::Over;
        }
        self.enter("ROUND_EVAL", "SHOP");
        self.tell(0.0, Moment::ShopEntered);
        Stage::Shop
    }

    fn visit_shop(&mut self) -> Stage {
        self.heartbeat_when_due();
        let (money, jokers) = (self.world.money, self.world.jokers.len());
        if let Some(cost) = self.world.buy_joker() {
            let id = self.world.jokers.last().expect("a joker was bought").id;
            self.tell(1_000.0, Moment::Bought { card_type: "joker", id, cost });
            self.report_jokers(jokers, money);
        } else if let Some(sold) = self.world.sell_joker() {
            self.tell(1_000.0, Moment::Sold { id: sold.id, name: sold.name });
            self.report_jokers(jokers, money);
        }
        if self.world.rng.u8(..4) == 0 {
            self.world.take_consumable();
            self.tell(500.0, Moment::BoosterOpened);
            let at = self.world.enhance_card();
            self.tell(500.0, Moment::CardEnhanced { at });
            self.tell(FRAME_MS, Moment::State { initial: false });
        }
        if self.world.rng.u8(..24) == 0 {
            self.tell(0.0, Moment::Error);
        }
        self.tell(700.0, Moment::ShopLeft);
        self.enter("SHOP", "BLIND_SELECT");
        Stage::BlindSelect
    }

    fn report_jokers(&mut self, old: usize, money: i64) {
        let new = self.world.jokers.len();
        self.tell(FRAME_MS, Moment::Money { old: money, new: self.world.money });
        self.tell(0.0, Moment::Jokers { old, new });
        self.tell(0.0, Moment::State { initial: false });
    }

    fn end_run(&mut self) -> Stage {
        let won = self.world.round >= ROUNDS_MAX;
        let old = self.world.phase;
        self.enter(old, "GAME_OVER");
        self.tell(500.0, Moment::RunOver { won });
        Stage::Menu
    }

    fn heartbeat_when_due(&mut self) {
        if self.told_ms - self.heartbeat_told_ms >= HEARTBEAT_MS {
            self.heartbeat_told_ms = self.told_ms;
            self.tell(0.0, Moment::Heartbeat);
        }
    }

    /// Puts the game in the middle of a run: jokers owned, a round in progress.
    pub(crate) fn skip_to_play(&mut self, jokers: usize) {
        self.world.start_run();
        self.world.grant_jokers(jokers);
        self.world.phase = "PLAYING";
        World::start_round(&mut self.world);
        self.stage = Stage::Playing;
    }
}
