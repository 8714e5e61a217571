//! Which events a reader asked for: by type, by game, by shard.

use std::collections::{HashMap, HashSet};

use jimbot_core::session::game_key;
use jimbot_shm::IndexEntry;
use pyo3::{exceptions::PyValueError, prelude::*};

/// Sessions whose games are remembered; more are looked up again.
const SESSIONS_MAX: usize = 65_536;
const WORDS: usize = (u16::MAX as usize + 1) / 64;

/// What a reader wants of each batch. Nothing set: everything.
#[pyclass(frozen, module = "jimbot.mcp._native")]
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// A bit for each event type; `None`: all.
    types: Option<Box<[u64]>>,
    games: Option<Games>,
    /// This shard and how many there are; `None`: all.
    shard: Option<(u64, u64)>,
}

/// Games by key, and by the id that the game itself goes by.
#[derive(Clone, Debug, Default)]
struct Games {
    keys: HashSet<u64>,
    ids: Vec<String>,
    /// Key of the log's hashes.
    id_key: [u8; 16],
    /// Keys that games with one of `ids` have in a session.
    of_session: HashMap<u64, Box<[u64]>>,
}

/// A game as it is asked for.
#[derive(FromPyObject)]
enum Game {
    Key(u64),
    Id(String),
}

#[pymethods]
impl Filter {
    #[new]
    fn new(
        types: Option<Vec<u16>>,
        games: Option<Vec<Game>>,
        shard: Option<(i64, i64)>,
    ) -> PyResult<Filter> {
        let types = types.map(|types| {
            let mut bits = vec![0u64; WORDS].into_boxed_slice();
            for kind in types {
                bits[usize::from(kind) / 64] |= 1 << (kind % 64);
            }
            bits
        });
        let games = games.map(|wanted| {
            let mut games = Games::default();
            for game in wanted {
                match game {
                    Game::Key(key) => {
                        games.keys.insert(key);
                    }
                    Game::Id(id) => games.ids.push(id),
                }
            }
            games
        });
        let shard = match shard {
            Some((own, of)) if own < 0 || own >= of => {
                let message = format!("shard is (i, n) with i from 0 to n - 1, not ({own}, {of})");
                return Err(PyValueError::new_err(message));
            }
            // One shard of one is no filter.
            Some((own, of)) if of > 1 => Some((own.unsigned_abs(), of.unsigned_abs())),
            _ => None,
        };
        Ok(Filter { types, games, shard })
    }
}

impl Filter {
    /// Under which key the log that it is used on has hashed its games.
    pub(crate) fn set_id_key(&mut self, id_key: [u8; 16]) {
        if let Some(games) = &mut self.games
            && games.id_key != id_key
        {
            games.id_key = id_key;
            games.of_session.clear();
        }
    }

    /// Whether every event passes.
    pub(crate) fn is_open(&self) -> bool {
        self.types.is_none() && self.games.is_none() && self.shard.is_none()
    }

    /// Whether this event passes.
    pub(crate) fn takes(&mut self, entry: &IndexEntry) -> bool {
        self.types.as_ref().is_none_or(|bits| {
            bits[usize::from(entry.event_type) / 64] >> (entry.event_type % 64) & 1 == 1
        }) && self.shard.is_none_or(|(own, of)| shard_of(entry.game_key, of) == own)
            && self.games.as_mut().is_none_or(|games| games.has(entry))
    }
}

impl Games {
    /// A game's key is the hash of its session and its id, so that an id is known again without a look at the event.
    fn has(&mut self, entry: &IndexEntry) -> bool {
        if self.keys.contains(&entry.game_key) {
            return true;
        }
        if self.ids.is_empty() {
            return false;
        }
        if self.of_session.len() >= SESSIONS_MAX && !self.of_session.contains_key(&entry.session) {
            self.of_session.clear();
        }
        let (ids, id_key, session) = (&self.ids, &self.id_key, entry.session);
        let keys = self.of_session.entry(session).or_insert_with(|| {
            ids.iter().map(|id| game_key(id_key, session, id.as_bytes())).collect()
        });
        keys.contains(&entry.game_key)
    }
}

/// The shard, of `of`, that has all events of a game. A game key is a hash already; it is mixed once more so that keys
/// that people or tests number from one spread as well. Events without a game have key 0, and so a shard too.
fn shard_of(game_key: u64, of: u64) -> u64 {
    let mut mixed = game_key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) % of
}
