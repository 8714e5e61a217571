//! The table of limits: everything that can grow, wait or nest has its bound here, with the reason for its size.
//!
//! Values marked *default* can be set in the configuration; the others are fixed. The relations between them that the
//! rest of the program relies on are asserted at compile time at the end of this file.

use crate::time::{MICROSECOND, MILLISECOND, SECOND};

// Promises about time ---------------------------------------------------------------------------------------------

/// The longest an event may wait from its last byte to being visible (*default* of `--window-ms`): the promise.
pub const WINDOW_NS: u64 = 100 * MILLISECOND;
/// The shortest window that can be configured: below it the margin would swallow the window.
pub const WINDOW_NS_MIN: u64 = 20 * MILLISECOND;
/// A window is closed this much before its end, so that commit, wake and scheduling still fit into it.
pub const WINDOW_MARGIN_NS: u64 = 10 * MILLISECOND;
/// What one turn may spend on reading and converting before answers are flushed: nobody waits longer for one's neighbour.
pub const TURN_BUDGET_NS: u64 = 500 * MICROSECOND;
/// Body bytes that are converted straight after a read, while they are in the cache; a longer body goes on in turns.
pub const DIRECT_BODY_BYTES: usize = 64 * 1024;
/// The same for all reads of one turn together: about what the turn's budget of time allows.
pub const DIRECT_TURN_BYTES: usize = 512 * 1024;
/// Resolution of the timer wheel: nothing that waits in it needs a finer one (wakes and turns do not go through it).
pub const TIMER_TICK_NS: u64 = MILLISECOND;
/// Timers that can wait at once; slots are taken as needed.
pub const TIMERS_MAX: usize = 1 << 20;

// The log -----------------------------------------------------------------------------------------------------------

/// Bytes of events in one batch (*default* of `--max-batch-bytes`).
pub const BATCH_BYTES: u32 = 1 << 20;
/// The most `--max-batch-bytes` may be: below gRPC's customary 4 MiB message with room for its envelope.
pub const BATCH_BYTES_MAX: u32 = 3 << 20;
/// The least `--max-batch-bytes` may be: an event that keeps the first bytes of an oversize body must fit.
pub const BATCH_BYTES_MIN: u32 = 2 * SALVAGE_KEEP_BYTES as u32;
/// Events in one batch (*default* of `--max-batch-events`).
pub const BATCH_EVENTS: u32 = 4096;
/// The most `--max-batch-events` may be: an index of 1 MiB.
pub const BATCH_EVENTS_MAX: u32 = 16 * 1024;
/// Bytes of one index entry.
pub const INDEX_ENTRY_BYTES: usize = 64;
/// Bytes of a frame's header.
pub const FRAME_HEADER_BYTES: usize = 64;
/// A log holds at least this many of its largest frames: readers get history, and a lap's padding is a fraction of it.
pub const LOG_FRAMES_MIN: u64 = 8;
/// Size of the log (*default*), 256 MiB: hours of play, minutes at 1,000 events of mixed size a second.
pub const LOG_BYTES: u64 = 256 << 20;

/// Bytes of the largest frame for the given batch limits, as the log lays it out.
#[must_use]
pub const fn max_frame_bytes(batch_bytes: u32, batch_events: u32) -> u64 {
    ((FRAME_HEADER_BYTES as u64 + batch_bytes as u64).next_multiple_of(64))
        + batch_events as u64 * INDEX_ENTRY_BYTES as u64
}

// Bodies and messages -----------------------------------------------------------------------------------------------

/// Bytes of one HTTP body (*default* of `--max-body-bytes`): the mod's largest possible batch is 370 KB, scripts send more.
pub const BODY_BYTES: usize = 8 << 20;
/// Bytes of an unreadable or oversize body that are stored in the event that tells of it.
pub const SALVAGE_KEEP_BYTES: usize = 64 * 1024;
/// Levels of JSON nesting: a game state has 6; the bound keeps the stack flat.
pub const NESTING_MAX: usize = 64;
/// Refusals listed one by one in an answer; further ones are only counted in it.
pub const REFUSALS_LISTED_MAX: usize = 100;
/// Bytes of a field path or reason in an answer, so that a refusal never echoes a body back.
pub const REFUSAL_TEXT_MAX: usize = 256;

/// Request heads that are recognised by their bytes: the kinds of client at work at once are few.
pub const KNOWN_HEADS: usize = 16;
/// Bytes of the longest head that is recognised so; the mod's have about 180.
pub const KNOWN_HEAD_BYTES_MAX: usize = 1024;

/// Bytes of lists that are remembered with their encodings (*default* of `--max-span-bytes`), so that those that come
/// again unchanged are copied: a game in play has 15 KB of them, so a thousand games fit.
pub const SPAN_BYTES: usize = 16 << 20;
/// The most `--max-span-bytes` may be.
pub const SPAN_BYTES_MAX: usize = 4 << 30;

// Connections -------------------------------------------------------------------------------------------------------

/// Open connections (*default* of `--max-connections`): ten thousand games and idle sockets with room to spare.
pub const CONNECTIONS: usize = 16 * 1024;
/// Accepting starts again when this many places are free after the cap was reached, so that it does not flap.
pub const CONNECTIONS_HYSTERESIS: usize = 64;
/// How long a request that was read waits for room in a full log before it is answered 503.
pub const FULL_HOLD_NS: u64 = 2 * SECOND;
/// How often a full log is looked at: readers never wake the writer.
pub const FULL_RECHECK_NS: u64 = MILLISECOND;
/// `Retry-After` of a 503 for a full log, in seconds.
pub const RETRY_AFTER: &str = "1";
/// How often readers' liveness is looked at while the log is not full.
pub const READER_CHECK_NS: u64 = SECOND;
/// A reader whose views are older than this, in seconds, or take more than this share of the log, is named: they hold the
/// log up when it is full. The Python package warns at the same two.
pub const PINNED_SECONDS: f64 = 5.0;
/// See [`PINNED_SECONDS`].
pub const PINNED_SHARE: f64 = 0.25;
/// How long a shutdown may take (*default* of `--drain-seconds`): systemd kills after 90 s, Kubernetes after 30.
pub const DRAIN_NS: u64 = 5 * SECOND;
/// Answers and messages that may wait in one WebSocket's output before refusals are no longer sent, only counted.
pub const WEBSOCKET_REFUSAL_BACKLOG_BYTES: usize = 16 * 1024;

// Sessions, repeats, commands ---------------------------------------------------------------------------------------

/// Sessions remembered; the least recently heard of goes first.
pub const SESSIONS_MAX: usize = 32 * 1024;
/// A batch whose newest clock lies this far behind the session's newest comes from a game that was started anew.
pub const SESSION_CLOCK_BACK_MS: f64 = 120_000.0;
/// Sessions count as connected for this long after they were last heard of: the mod sends a heartbeat every few seconds.
pub const SESSION_CONNECTED_NS: u64 = 30 * SECOND;
/// Game ids that come back, or clocks that jump back, this often within [`SESSION_ALTERNATION_NS`] show two games in one session.
pub const SESSION_ALTERNATIONS: u32 = 3;
/// The time in which alternations are counted together; a run that is started again by hand takes longer.
pub const SESSION_ALTERNATION_NS: u64 = 60 * SECOND;
/// Bytes of a game id that are kept for people to read.
pub const GAME_ID_SHOWN_MAX: usize = 64;

/// Events remembered to recognise repeats, a power of two: 40 minutes at 400 events a second.
pub const REPEATS_EVENTS: usize = 1 << 20;
/// An event that comes again after longer than this is a new one.
pub const REPEATS_AGE_NS: u64 = 15 * 60 * SECOND;
/// Producers with sequences of their own that are remembered; the least recently heard of goes first.
pub const PRODUCERS_MAX: usize = 4096;
/// Gaps remembered in one producer's sequences: each stands for events that are still on their way.
pub const PRODUCER_GAPS_MAX: usize = 32;

/// Commands waiting for one session: a game takes two a second at most.
pub const COMMANDS_PER_SESSION: usize = 64;
/// Commands waiting in all.
pub const COMMANDS_MAX: usize = 4096;
/// A command that was not fetched for this long is no longer what its sender meant (*default* of `--command-age-seconds`).
pub const COMMAND_AGE_NS: u64 = 10 * SECOND;
/// Sessions listed in an answer.
pub const SESSIONS_LISTED_MAX: usize = 100;
/// A session is given commands from this poll on: the mod throws away what the first one of a game start gets.
pub const POLLS_BEFORE_COMMANDS: u64 = 2;
/// Bytes of a command's JSON: the largest form is under 200.
pub const COMMAND_BODY_BYTES: usize = 16 * 1024;
/// Notices for people that wait to be fetched by the shell; further ones are dropped, the counters still tell.
pub const NOTICES_MAX: usize = 256;

// One connection: HTTP and WebSocket ---------------------------------------------------------------------------------

/// Bytes of a request head, its empty line included: browsers stay below 8 KiB, the mod below 300 bytes.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a request line without its line end.
pub const REQUEST_LINE_BYTES_MAX: usize = 8 * 1024;
/// Header fields of a head.
pub const HEADER_FIELDS_MAX: usize = 64;
/// Empty lines that are passed over before a request line (RFC 9112, section 2.2, asks for one).
pub const EMPTY_LINES_MAX: u8 = 2;
/// Digits of a chunk size: 16 hold every number of 64 bits, leading zeros are no way to send bytes for ever.
pub const CHUNK_SIZE_DIGITS_MAX: u8 = 16;
/// Bytes of chunk extensions of one body, all chunks together.
pub const CHUNK_EXTENSION_BYTES_MAX: usize = 4 * 1024;
/// Bytes of trailer fields of one body.
pub const TRAILER_BYTES_MAX: usize = 8 * 1024;
/// Bytes of a lenient agent's body that are read at all, kept or dropped; a longer one is refused like anybody's.
pub const BODY_DROPPED_BYTES_MAX: u64 = 1 << 30;
/// A head must be complete this long after its first byte (408).
pub const HEAD_NS: u64 = 10 * SECOND;
/// A body that comes slower than [`BODY_BYTES_PER_SECOND`] is given up after this head start (408).
pub const BODY_GRACE_NS: u64 = 10 * SECOND;
/// The slowest a body may come, over its whole length.
pub const BODY_BYTES_PER_SECOND: u64 = 8 * 1024;
/// The longest a body may take, however steadily it comes.
pub const BODY_NS: u64 = 300 * SECOND;
/// An HTTP connection without a request is closed after this long: the mod polls twice a second, WinINet keeps a
/// connection for a minute.
pub const IDLE_NS: u64 = 120 * SECOND;
/// A client that takes nothing of its answers for this long is closed.
pub const OUTPUT_STALL_NS: u64 = 30 * SECOND;
/// Bytes of unsent answers from which on nothing more is read from this client.
pub const OUTPUT_HIGH_BYTES: usize = 64 * 1024;
/// Bytes of unsent answers past which a WebSocket is sent no further message of ours.
pub const OUTPUT_BYTES_MAX: usize = 256 * 1024;
/// After an answer that ends the connection, what the client still sends is dropped for this long: closing earlier
/// would reset the connection, and the client might never see the answer.
pub const LINGER_NS: u64 = 10 * SECOND;
/// A client that sends nothing for this long while we linger has understood.
pub const LINGER_SILENCE_NS: u64 = 2 * SECOND;
/// A connection that waits this long for a share of [`BUFFER_BYTES`] is answered 503, or closed with 1013; a lenient
/// agent's body may then overdraw it, one at a time, and else waits on.
pub const MEMORY_WAIT_NS: u64 = 5 * SECOND;
/// The shared read buffer (see the measurements in `docs/performance.md`): reads of 64 KiB beat small ones on busy sockets.
pub const READ_BYTES: usize = 64 * 1024;
/// The most a connection that waits for its peer owns.
pub const IDLE_BUFFER_BYTES: usize = 4 * 1024;
/// Bytes all connections together hold of requests that are not complete, beside their [`IDLE_BUFFER_BYTES`] and one
/// lenient agent's body that may overdraw them.
pub const BUFFER_BYTES: usize = 256 << 20;
/// Read buffers that are kept for reuse: sixteen for a group of sockets that is read before the first one is looked at,
/// the others for bodies that go on in turns.
pub const READ_BUFFERS_KEPT: usize = 24;
/// Small buffers and output buffers that are kept for reuse.
pub const SMALL_BUFFERS_KEPT: usize = 256;
/// Bytes of a WebSocket message and of a frame (*default*): what HTTP takes.
pub const MESSAGE_BYTES: usize = BODY_BYTES;
/// Frames a WebSocket may send in a second (*default*), control frames and fragments counted too. A game sends a hundred; a
/// relay may bring all that one core is meant to take, 2,500,000 of the smallest events a second, over one connection, and
/// who does that must not be closed for it, on a faster core either. Twice that is left to frames that hold no event (empty
/// ones, fragments of nothing): they cost less than an event, so TCP would let more of them through.
pub const FRAMES_PER_SECOND: u64 = 5_000_000;
/// Control frames (ping, pong, close) a WebSocket may send in a second: each ping asks for an answer.
pub const CONTROL_FRAMES_PER_SECOND: u64 = 1_000;
/// A WebSocket that was silent for this long is sent a ping.
pub const PING_AFTER_NS: u64 = 20 * SECOND;
/// Pings leave at multiples of this, those of all silent WebSockets together: to wake for each would cost more than it.
pub const PING_STEP_NS: u64 = SECOND / 2;
/// A WebSocket that stays silent for this long after our ping is closed.
pub const PONG_WITHIN_NS: u64 = 20 * SECOND;
/// After our close frame the peer's is awaited for this long.
pub const CLOSE_WITHIN_NS: u64 = 2 * SECOND;

const _: () = {
    assert!(BATCH_BYTES >= BATCH_BYTES_MIN && BATCH_BYTES <= BATCH_BYTES_MAX);
    assert!(BATCH_EVENTS <= BATCH_EVENTS_MAX);
    assert!(LOG_BYTES >= LOG_FRAMES_MIN * max_frame_bytes(BATCH_BYTES, BATCH_EVENTS));
    assert!(
        SALVAGE_KEEP_BYTES < BATCH_BYTES_MIN as usize,
        "the event about an oversize body must fit an empty batch"
    );
    assert!(SALVAGE_KEEP_BYTES <= BODY_BYTES);
    assert!(WINDOW_MARGIN_NS < WINDOW_NS_MIN && WINDOW_NS_MIN <= WINDOW_NS);
    assert!(TURN_BUDGET_NS < WINDOW_MARGIN_NS, "a turn must not carry a window past its end");
    assert!(TIMER_TICK_NS <= FULL_RECHECK_NS && TIMER_TICK_NS < WINDOW_MARGIN_NS);
    assert!(FULL_HOLD_NS < DRAIN_NS, "held requests are answered before a shutdown gives up");
    assert!(CONNECTIONS_HYSTERESIS < CONNECTIONS && CONNECTIONS * 4 < TIMERS_MAX);
    assert!(
        REPEATS_EVENTS.is_power_of_two() && REPEATS_EVENTS <= 1 << 20,
        "repeats keeps 20 bits of a place"
    );
    assert!(COMMANDS_PER_SESSION <= COMMANDS_MAX);
    assert!(SESSION_CONNECTED_NS > COMMAND_AGE_NS);
    assert!(
        NESTING_MAX <= 100,
        "prost's default recursion limit must accept what the converter writes"
    );
    assert!(REQUEST_LINE_BYTES_MAX < HEAD_BYTES_MAX && HEAD_BYTES_MAX <= READ_BYTES);
    assert!(IDLE_BUFFER_BYTES < READ_BYTES && READ_BYTES < BODY_BYTES);
    assert!(OUTPUT_HIGH_BYTES < OUTPUT_BYTES_MAX);
    assert!(BODY_BYTES * 4 < BUFFER_BYTES, "several of the largest bodies fit the budget at once");
    assert!(BODY_BYTES as u64 <= BODY_DROPPED_BYTES_MAX);
    assert!(LINGER_SILENCE_NS < LINGER_NS && CLOSE_WITHIN_NS < DRAIN_NS);
    assert!(BODY_GRACE_NS < BODY_NS && FULL_HOLD_NS < OUTPUT_STALL_NS);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_header_payload_and_index_in_whole_cache_lines() {
        assert_eq!(max_frame_bytes(1 << 20, 4096), (1 << 20) + 64 + 4096 * 64);
        assert_eq!(max_frame_bytes(1, 1) % 64, 0);
    }
}
