//! Every metric, by family. A label set's place in its list is the number that code gives to `add`.

use super::{Family, Kind, Labels, Metric};
use crate::conn::Counted;

const NS: u64 = 1_000_000_000;
const MS_IN_NS: u64 = 1_000_000;
const NONE: Labels = Labels { name: "", values: &[""] };

/// Bounds of waits, in nanoseconds: 20 µs to 100 ms (the promise) and beyond.
const WAIT_BOUNDS: &[u64] = &[
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    90_000_000,
    100_000_000,
    200_000_000,
    1_000_000_000,
];

const BATCH_EVENT_BOUNDS: &[u64] = &[1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];

macro_rules! families {
    ($($(#[$doc:meta])* $ident:ident: $kind:expr, $name:literal / $divisor:expr, $labels:expr, $older:expr, $help:literal;)*) => {
        /// All families, in the order of their cells.
        pub const FAMILIES: &[Family] = &[$(Family {
            name: $name, help: $help, kind: $kind, divisor: $divisor, labels: $labels, older: $older,
        }),*];

        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        enum Position { $($ident),* }

        $(
            #[doc = $help]
            $(#[$doc])*
            pub const $ident: Metric = Metric::of(FAMILIES, Position::$ident as usize);
        )*
    };
}

/// Labels of [`EVENTS_STORED`].
pub mod transport {
    /// Came in an HTTP body.
    pub const HTTP: usize = 0;
    /// Came in a WebSocket message.
    pub const WEBSOCKET: usize = 1;
    /// Said by the service itself: commands, their delivery and expiry.
    pub const SERVICE: usize = 2;
}

/// Labels of [`PRODUCER_CHECKPOINTS`].
pub mod checkpoint {
    /// Is beside the log.
    pub const WRITTEN: usize = 0;
    /// The one before it is still there.
    pub const FAILED: usize = 1;
    /// Was found at start and could not be used.
    pub const IGNORED: usize = 2;
}

/// Labels of [`EVENTS_REFUSED`].
pub mod refused {
    /// No event can be read there.
    pub const UNREADABLE: usize = 0;
    /// A field is missing, or breaks a rule that refuses.
    pub const FIELD: usize = 1;
    /// A binary message is not what the schema says.
    pub const NOT_PROTOBUF: usize = 2;
}

/// Labels of [`EVENTS_MARKED`].
pub mod mark {
    /// See [`crate::log::flags`].
    pub const SALVAGED: usize = 0;
    /// See [`crate::log::flags`].
    pub const FLAGGED: usize = 1;
    /// See [`crate::log::flags`].
    pub const RAW_TEXT: usize = 2;
    /// See [`crate::log::flags`].
    pub const UNREADABLE: usize = 3;
    /// See [`crate::log::flags`].
    pub const SESSION_AMBIGUOUS: usize = 4;
    /// See [`crate::log::flags`].
    pub const UNKNOWN_TYPE: usize = 5;
    /// See [`crate::log::flags`].
    pub const OUT_OF_ORDER: usize = 6;
}

/// Labels of [`BATCHES_COMMITTED`].
pub mod commit {
    /// A poll found nothing to do.
    pub const IDLE: usize = 0;
    /// The window closed.
    pub const WINDOW: usize = 1;
    /// The batch had no room for the next event, or as many as it may hold.
    pub const BATCH_FULL: usize = 2;
    /// An event that must not wait.
    pub const URGENT: usize = 3;
    /// The service shuts down.
    pub const DRAIN: usize = 4;
}

/// Labels of [`HTTP_REQUESTS`].
pub mod endpoint {
    /// `POST /api/v1/events`
    pub const EVENTS: usize = 0;
    /// `POST /api/v1/events/batch`
    pub const BATCH: usize = 1;
    /// WebSocket upgrades.
    pub const WEBSOCKET: usize = 2;
    /// `POST /api/v1/commands`
    pub const COMMANDS: usize = 3;
    /// `GET /api/v1/commands/poll`
    pub const POLL: usize = 4;
    /// The health endpoints.
    pub const HEALTH: usize = 5;
    /// `GET /metrics`
    pub const METRICS: usize = 6;
    /// `GET /api/v1/readers`
    pub const READERS: usize = 7;
    /// Anything else.
    pub const OTHER: usize = 8;
}

/// Labels of [`HTTP_RESPONSES`].
pub const RESPONSE_CODES: &[u16] = &[101, 200, 204, 400, 404, 405, 409, 413, 415, 426, 503];

/// Labels of [`CONNECTION_EVENTS`]: what the connections themselves count.
const CONNECTION_EVENT_NAMES: [&str; Counted::ALL.len()] = {
    let mut names = [""; Counted::ALL.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = Counted::ALL[i].name();
        i += 1;
    }
    names
};

families! {
    EVENTS_STORED: Kind::Counter, "jimbot_mcp_events_stored_total" / 1,
        Labels { name: "transport", values: &["http", "websocket", "service"] }, None,
        "Events stored in the log.";
    EVENTS_REPEATED: Kind::Counter, "jimbot_mcp_events_repeated_total" / 1, NONE, None,
        "Events that were sent again and recognised; they are acknowledged and not stored twice.";
    EVENTS_REFUSED: Kind::Counter, "jimbot_mcp_events_refused_total" / 1,
        Labels { name: "reason", values: &["unreadable", "field", "not_protobuf"] }, None,
        "Events that were refused, by reason; their senders were told.";
    EVENTS_MARKED: Kind::Counter, "jimbot_mcp_events_marked_total" / 1,
        Labels { name: "mark", values: &["salvaged", "flagged", "raw_text", "unreadable", "session_ambiguous", "unknown_type", "out_of_order"] }, None,
        "Stored events that carry a mark in the index, by mark.";
    INPUT_BYTES: Kind::Counter, "jimbot_mcp_input_bytes_total" / 1, NONE, None,
        "Bytes of bodies and messages that were read for events.";
    BATCHES_COMMITTED: Kind::Counter, "jimbot_mcp_batches_committed_total" / 1,
        Labels { name: "cause", values: &["idle", "window", "batch_full", "urgent", "drain"] }, None,
        "Batches made visible to readers, by what caused the commit.";
    BATCH_BYTES: Kind::Counter, "jimbot_mcp_batch_bytes_total" / 1, NONE, None,
        "Bytes of serialised events in committed batches.";
    BATCH_LATENCY: Kind::Histogram(WAIT_BOUNDS), "jimbot_mcp_batch_latency_seconds" / NS, NONE,
        Some(("mcp_batch_latency_ms", MS_IN_NS)),
        "Time from a batch's first event to its commit.";
    BATCH_EVENTS: Kind::Histogram(BATCH_EVENT_BOUNDS), "jimbot_mcp_batch_events" / 1, NONE,
        Some(("mcp_events_per_batch", 1)),
        "Events in a committed batch.";
    QUEUE_EVENTS: Kind::Gauge, "jimbot_mcp_queue_events" / 1, NONE, Some(("mcp_queue_size", 1)),
        "Events stored in the open batch, not yet visible to readers.";
    CONNECTIONS_OPEN: Kind::Gauge, "jimbot_mcp_connections" / 1, NONE, None,
        "Open connections of either protocol.";
    WEBSOCKETS_OPEN: Kind::Gauge, "jimbot_mcp_websocket_connections" / 1, NONE,
        Some(("mcp_websocket_connections", 1)),
        "Open WebSocket connections.";
    CONNECTIONS_ACCEPTED: Kind::Counter, "jimbot_mcp_connections_accepted_total" / 1, NONE, None,
        "Connections accepted.";
    CONNECTIONS_REFUSED: Kind::Counter, "jimbot_mcp_connections_refused_total" / 1,
        Labels { name: "reason", values: &["limit", "draining", "descriptors"] }, None,
        "Connections refused at accept, by reason.";
    CONNECTION_EVENTS: Kind::Counter, "jimbot_mcp_connection_events_total" / 1,
        Labels { name: "event", values: &CONNECTION_EVENT_NAMES }, None,
        "What happened on connections: requests, refusals by status, WebSockets closed by code, and others.";
    CONNECTIONS_SATURATED: Kind::Counter, "jimbot_mcp_connections_saturated_seconds_total" / NS, NONE, None,
        "Time during which no connection was accepted because the limit was reached.";
    HTTP_REQUESTS: Kind::Counter, "jimbot_mcp_http_requests_total" / 1,
        Labels { name: "endpoint", values: &["events", "batch", "websocket", "commands", "poll", "health", "metrics", "readers", "other"] }, None,
        "HTTP requests, by endpoint.";
    HTTP_RESPONSES: Kind::Counter, "jimbot_mcp_http_responses_total" / 1,
        Labels { name: "code", values: &["101", "200", "204", "400", "404", "405", "409", "413", "415", "426", "503"] }, None,
        "Answers of the endpoints, by status code; what connections refuse themselves is in jimbot_mcp_connection_events_total.";
    WEBSOCKET_MESSAGES: Kind::Counter, "jimbot_mcp_websocket_messages_total" / 1,
        Labels { name: "kind", values: &["text", "binary"] }, None,
        "WebSocket messages received, by kind.";
    WEBSOCKET_CLOSES: Kind::Counter, "jimbot_mcp_websocket_closes_total" / 1,
        Labels { name: "reason", values: &["log_full"] }, None,
        "WebSockets that the service closed on its own account, by reason.";
    FULL_EPISODES: Kind::Counter, "jimbot_mcp_log_full_episodes_total" / 1, NONE, None,
        "Times the log was full because a reliable reader held it.";
    FULL_SECONDS: Kind::Counter, "jimbot_mcp_log_full_seconds_total" / NS, NONE, None,
        "Time during which the log was full.";
    FULL_HELD: Kind::Counter, "jimbot_mcp_log_full_held_total" / 1, NONE, None,
        "Requests and messages that waited for room in a full log.";
    FULL_REFUSED: Kind::Counter, "jimbot_mcp_log_full_refused_total" / 1, NONE, None,
        "Requests and messages that were turned away because the log stayed full.";
    BODIES_DEFERRED: Kind::Counter, "jimbot_mcp_bodies_deferred_total" / 1, NONE, None,
        "Bodies that were read over more than one turn, so that others need not wait for them.";
    SESSIONS_STARTED: Kind::Counter, "jimbot_mcp_sessions_started_total" / 1,
        Labels { name: "cause", values: &["first_event", "connection_test", "clock"] }, None,
        "Sessions that began, by what showed it.";
    SESSIONS_KNOWN: Kind::Gauge, "jimbot_mcp_sessions" / 1, NONE, None,
        "Sessions that are remembered.";
    SESSIONS_AMBIGUOUS: Kind::Counter, "jimbot_mcp_sessions_ambiguous_total" / 1, NONE, None,
        "Sessions found to hold the events of more than one game process.";
    SESSIONS_FORGOTTEN: Kind::Counter, "jimbot_mcp_sessions_forgotten_total" / 1, NONE, None,
        "Sessions forgotten to make room for newer ones.";
    REPEATS_EVICTED: Kind::Counter, "jimbot_mcp_repeats_evicted_total" / 1, NONE, None,
        "Events forgotten before their 15 minutes because too many newer ones came; a repeat of them would be stored again.";
    REPEATS_GAPS_FORGOTTEN: Kind::Counter, "jimbot_mcp_repeats_gaps_forgotten_total" / 1, NONE, None,
        "Gaps in producers' sequences that were forgotten because there were too many.";
    PRODUCER_CHECKPOINTS: Kind::Counter, "jimbot_mcp_producer_checkpoints_total" / 1,
        Labels { name: "result", values: &["written", "failed", "ignored"] }, None,
        "Checkpoints of the numbers that producers have sent: written beside the log, not to be written, and found at start but of no use.";
    SPANS: Kind::Counter, "jimbot_mcp_spans_total" / 1,
        Labels { name: "found", values: &["whole", "partly", "not"] }, None,
        "Lists in events (decks, hands, jokers), by whether they had come before: whole and partly known ones are copied, not converted.";
    SPANS_EVICTED: Kind::Counter, "jimbot_mcp_spans_evicted_total" / 1, NONE, None,
        "Remembered lists that were dropped for newer ones; many of them and few found whole ask for a larger max_span_bytes.";
    SPAN_BYTES: Kind::Gauge, "jimbot_mcp_span_bytes" / 1, NONE, None,
        "Memory that remembered lists take.";
    BUFFER_BYTES: Kind::Gauge, "jimbot_mcp_buffer_bytes" / 1, NONE, None,
        "Memory that connections hold for requests and messages under way, beside 4 KiB that each may always have; max_buffer_bytes bounds it.";
    COMMANDS_QUEUED: Kind::Counter, "jimbot_mcp_commands_queued_total" / 1, NONE, None,
        "Commands taken for a game.";
    COMMANDS_DELIVERED: Kind::Counter, "jimbot_mcp_commands_delivered_total" / 1,
        Labels { name: "via", values: &["poll", "websocket"] }, None,
        "Commands handed to a game, by how.";
    COMMANDS_EXPIRED: Kind::Counter, "jimbot_mcp_commands_expired_total" / 1, NONE, None,
        "Commands that no game fetched in time.";
    COMMANDS_REFUSED: Kind::Counter, "jimbot_mcp_commands_refused_total" / 1,
        Labels { name: "reason", values: &["invalid", "no_session", "several_sessions", "mailbox_full", "log_full"] }, None,
        "Commands refused, by reason.";
    COMMANDS_WAITING: Kind::Gauge, "jimbot_mcp_commands_waiting" / 1, NONE, None,
        "Commands waiting to be fetched.";
    LOG_SEQUENCE: Kind::Gauge, "jimbot_mcp_log_next_sequence" / 1, NONE, None,
        "Sequence that the next event gets.";
    LOG_GENERATION: Kind::Gauge, "jimbot_mcp_log_generation" / 1, NONE, None,
        "How often a service has taken this log over.";
    READERS: Kind::Gauge, "jimbot_mcp_readers" / 1, Labels { name: "guarantee", values: &["lossy", "reliable"] }, None,
        "Readers that are registered and alive, by guarantee.";
    READER_LAG_EVENTS: Kind::Gauge, "jimbot_mcp_reader_lag_events_max" / 1, NONE, None,
        "Committed events that the reader furthest behind has not read; a dead one counts while it holds the log.";
    READER_LAG_BYTES: Kind::Gauge, "jimbot_mcp_reader_lag_bytes_max" / 1, NONE, None,
        "Bytes of the log that the reader furthest behind has not read; a dead one counts while it holds the log.";
    READER_LAG_SECONDS: Kind::Gauge, "jimbot_mcp_reader_lag_seconds_max" / NS, NONE, None,
        "Age of the oldest batch that the reader furthest behind has not read; a dead one counts while it holds the log.";
    READERS_PINNED_BYTES: Kind::Gauge, "jimbot_mcp_readers_pinned_bytes" / 1, NONE, None,
        "Bytes of the log that readers keep pinned through views.";
    DRAINING: Kind::Gauge, "jimbot_mcp_draining" / 1, NONE, None,
        "1 while the service shuts down.";
    FORWARDER_PUBLISHED: Kind::Counter, "jimbot_mcp_forwarder_published_total" / 1, NONE, None,
        "Events that the Event Bus has acknowledged to the forwarder.";
    FORWARDER_REJECTED: Kind::Counter, "jimbot_mcp_forwarder_rejected_total" / 1, NONE, None,
        "Events that the Event Bus will not take.";
    FORWARDER_FAILURES: Kind::Counter, "jimbot_mcp_forwarder_failures_total" / 1, NONE, None,
        "Calls and connections to the Event Bus that failed.";
    FORWARDER_BREAKER_OPENED: Kind::Counter, "jimbot_mcp_forwarder_breaker_opened_total" / 1, NONE, None,
        "Times the forwarder's circuit breaker has opened.";
    FORWARDER_SPILLED: Kind::Counter, "jimbot_mcp_forwarder_spilled_total" / 1, NONE, None,
        "Events that were moved to the spill on disk because the Event Bus did not take them.";
    FORWARDER_SPILL_EVENTS: Kind::Gauge, "jimbot_mcp_forwarder_spill_events" / 1, NONE, None,
        "Events in the spill that are not delivered.";
    FORWARDER_SPILL_BYTES: Kind::Gauge, "jimbot_mcp_forwarder_spill_bytes" / 1, NONE, None,
        "Bytes of the spill on disk.";
    FORWARDER_LAG_EVENTS: Kind::Gauge, "jimbot_mcp_forwarder_lag_events" / 1, NONE, None,
        "Events in the log that are neither delivered nor spilled.";
    FORWARDER_CONNECTED: Kind::Gauge, "jimbot_mcp_forwarder_connected" / 1, NONE, None,
        "1 while the forwarder is connected to the Event Bus.";
    BUS_STORED: Kind::Counter, "jimbot_mcp_bus_events_stored_total" / 1, NONE, None,
        "Events that the Event Bus in this process has stored.";
    BUS_DUPLICATES: Kind::Counter, "jimbot_mcp_bus_events_duplicate_total" / 1, NONE, None,
        "Events that it had stored before and that came again.";
    BUS_DELIVERED: Kind::Counter, "jimbot_mcp_bus_events_delivered_total" / 1, NONE, None,
        "Events that it has delivered for the first time, once for each subscriber.";
    BUS_SUBSCRIPTIONS: Kind::Gauge, "jimbot_mcp_bus_subscriptions" / 1, NONE, None,
        "Subscriptions that it has now.";
    BUS_STORE_BYTES: Kind::Gauge, "jimbot_mcp_bus_store_bytes" / 1, NONE, None,
        "Bytes of its store.";
    NOTICES_DROPPED: Kind::Counter, "jimbot_mcp_notices_dropped_total" / 1, NONE, None,
        "Notices for people that were dropped because too many waited.";
    START_TIME: Kind::Gauge, "jimbot_mcp_start_time_seconds" / NS, NONE, None,
        "When the service started, in seconds since 1970 UTC.";
}
