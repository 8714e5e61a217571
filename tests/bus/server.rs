//! What publishers and subscribers of a bus see.

use std::time::Duration;

use jimbot_mcp::bus::access::Token;
use jimbot_mcp::bus::store::EmbeddedOptions;
use jimbot_mcp::bus::{Config, StoreConfig, start};
use jimbot_proto::events::v1::subscribe_request::Request as Up;
use jimbot_proto::events::v1::subscribe_response::Response as Down;
use jimbot_proto::events::v1::{
    Ack, AckLevel, Credit, DeleteDurableRequest, Event, EventBatch, EventFilter, EventType,
    GapReason, GetHistoryRequest, LastSequenceRequest, ListDurablesRequest, Nack,
    PublishEventRequest, PublishRequest, RejectReason, SubscribeRequest, last_sequence_request,
};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use crate::support::{
    BusClient, Subscriber, batch, bus, client, durable, event, from_earliest, publish,
};

#[tokio::test]
async fn what_is_published_is_delivered_in_order_to_all() {
    let dir = tempfile::tempdir().unwrap();
    let (_bus, mut client) = bus(dir.path()).await;
    publish(&mut client, batch(1, 1, 50)).await.unwrap();
    let mut early = Subscriber::new(&mut client, durable("early")).await.unwrap();
    let mut plain = Subscriber::new(&mut client, from_earliest()).await.unwrap();
    for start in [51, 101, 151] {
        let done = publish(&mut client, batch(1, start, start + 49)).await.unwrap();
        assert_eq!((done.stored, done.ack_level), (50, AckLevel::Written as i32));
    }
    assert_eq!(early.sequences(200).await, (1..=200).collect::<Vec<_>>());
    assert_eq!(plain.sequences(200).await, (1..=200).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stream_of_batches_is_answered_in_order_and_duplicates_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let (_bus, mut client) = bus(dir.path()).await;
    let (send, requests) = mpsc::channel(200);
    for number in 0..100u64 {
        // Every tenth batch again.
        let first = (number - number % 10 / 9) * 10 + 1;
        let request = PublishRequest {
            batch: batch(3, first, first + 9).into(),
            request_id: number,
            ack_level: if number % 7 == 0 { AckLevel::Fsynced as i32 } else { 0 },
        };
        send.send(request).await.unwrap();
    }
    drop(send);
    let mut answers = client.publish(ReceiverStream::new(requests)).await.unwrap().into_inner();
    let (mut stored, mut duplicates) = (0, 0);
    for number in 0..100 {
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!(answer.request_id, number);
        let result = answer.result.unwrap();
        assert!(number % 7 != 0 || result.ack_level == AckLevel::Fsynced as i32);
        stored += result.stored;
        duplicates += result.duplicates;
    }
    assert_eq!((stored, duplicates), (900, 100));
    assert!(answers.message().await.unwrap().is_none());
    let request =
        LastSequenceRequest { publisher: Some(last_sequence_request::Publisher::LogEpoch(3)) };
    let last = client.last_sequence(request).await.unwrap().into_inner();
    assert!(last.found);
}

#[tokio::test]
async fn bad_events_are_named_and_the_others_stored() {
    let dir = tempfile::tempdir().unwrap();
    let (_bus, mut client) = bus(dir.path()).await;
    let mut events = vec![event(1, 1), event(1, 2), event(1, 3)];
    events[1].log_epoch = 0;
    let done = publish(&mut client, EventBatch { events }.encode_to_vec()).await.unwrap();
    assert_eq!((done.stored, done.rejections.len()), (2, 1));
    assert_eq!(
        (done.rejections[0].index, done.rejections[0].reason),
        (1, RejectReason::NoIdentity as i32)
    );
    let done = publish(&mut client, b"\x0a\xff\xff\xff\xff\x0fjunk".to_vec()).await.unwrap();
    assert_eq!(done.rejections[0].reason, RejectReason::Malformed as i32);
    let unknown = Event { r#type: 12_345, ..event(1, 9) };
    let request =
        PublishEventRequest { event: unknown.encode_to_vec().into(), ..Default::default() };
    let error = client.publish_event(request).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().contains("REJECT_REASON_UNKNOWN_TYPE"), "{error:?}");
    let error = publish(&mut client, vec![0; 5 << 20]).await.unwrap_err();
    assert_eq!(error.code(), Code::OutOfRange, "{error:?}");
    let request = PublishEventRequest {
        event: event(1, 10).encode_to_vec().into(),
        ack_level: AckLevel::Replicated as i32,
    };
    assert_eq!(client.publish_event(request).await.unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(publish(&mut client, batch(1, 4, 5)).await.unwrap().stored, 2, "it goes on");
}

#[tokio::test]
async fn the_largest_batch_of_a_log_goes_through_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (_bus, mut client) = bus(dir.path()).await;
    let big = Event { event_id: Some("x".repeat(3 << 20 >> 1)), ..event(1, 1) };
    let events = EventBatch { events: vec![big.clone(), Event { sequence: 2, ..big }] };
    assert_eq!(publish(&mut client, events.encode_to_vec()).await.unwrap().stored, 2);
    let mut subscriber = Subscriber::new(&mut client, from_earliest()).await.unwrap();
    assert_eq!(subscriber.sequences(2).await, [1, 2]);
}

#[tokio::test]
async fn filters_select_by_topic_game_and_source() {
    let dir = tempfile::tempdir().unwrap();
    let (_bus, mut client) = bus(dir.path()).await;
    let events = (1..=300u64).map(|sequence| Event {
        r#type: if sequence % 3 == 0 { EventType::HandPlayed } else { EventType::Heartbeat } as i32,
        game_key: sequence % 5,
        source: Some(if sequence % 2 == 0 { "BalatroMCP" } else { "script" }.to_owned()),
        payload: None,
        ..event(1, sequence)
    });
    publish(&mut client, EventBatch { events: events.collect() }.encode_to_vec()).await.unwrap();
    let wanted = |filter| {
        let mut start = from_earliest();
        start.filter = Some(filter);
        start
    };
    type Keep = fn(u64) -> bool;
    let cases: [(EventFilter, Keep); 4] = [
        (EventFilter { topics: vec!["game.*.played".into()], ..Default::default() }, |n| {
            n % 3 == 0
        }),
        (EventFilter { game_keys: vec![2, 4], ..Default::default() }, |n| matches!(n % 5, 2 | 4)),
        (
            EventFilter {
                sources: vec!["script".into()],
                topics: vec!["system.>".into()],
                ..Default::default()
            },
            |n| n % 2 == 1 && n % 3 != 0,
        ),
        (EventFilter { types: vec![EventType::HandPlayed as i32], ..Default::default() }, |n| {
            n % 3 == 0
        }),
    ];
    for (filter, keep) in cases {
        let expected: Vec<u64> = (1..=300).filter(|n| keep(*n)).collect();
        let mut subscriber = Subscriber::new(&mut client, wanted(filter)).await.unwrap();
        assert_eq!(subscriber.sequences(expected.len()).await, expected);
    }
    let bad = wanted(EventFilter { topics: vec!["game..x".into()], ..Default::default() });
    let error = Subscriber::new(&mut client, bad).await.err().unwrap();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().contains("game..x"), "{error:?}");
}

#[tokio::test]
async fn a_subscriber_that_dies_without_acknowledging_gets_the_events_again() {
    let dir = tempfile::tempdir().unwrap();
    let (_bus, mut client) = bus(dir.path()).await;
    publish(&mut client, batch(1, 1, 30)).await.unwrap();
    let mut first = Subscriber::new(&mut client, durable("trainer")).await.unwrap();
    let delivery = first.delivery().await;
    assert_eq!((delivery.positions.len(), delivery.attempt), (30, 1));
    first.say(Up::Ack(Ack { up_to: 10, positions: vec![20] })).await;
    let held = Subscriber::new(&mut client, durable("trainer")).await.err().unwrap();
    assert_eq!(held.code(), Code::AlreadyExists);
    drop(first);
    let mut second = loop {
        match Subscriber::new(&mut client, durable("trainer")).await {
            Ok(subscriber) => break subscriber,
            Err(error) => assert_eq!(error.code(), Code::AlreadyExists),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    publish(&mut client, batch(1, 31, 40)).await.unwrap();
    let (mut seen, mut attempts) = (Vec::new(), Vec::new());
    while seen.len() < 29 {
        let delivery = second.delivery().await;
        seen.extend(delivery.positions.clone());
        attempts.push(delivery.attempt);
        second.ack_up_to(*delivery.positions.last().unwrap()).await;
    }
    seen.sort_unstable();
    assert_eq!(seen, (11..=40).filter(|position| *position != 20).collect::<Vec<_>>());
    assert_eq!(attempts[0], 2, "{attempts:?}");
}

#[tokio::test]
async fn what_no_attempt_could_deal_with_becomes_a_dead_letter() {
    let dir = tempfile::tempdir().unwrap();
    let (_bus, mut client) = bus(dir.path()).await;
    publish(&mut client, batch(1, 1, 3)).await.unwrap();
    let mut start = durable("picky");
    let terms = start.durable.as_mut().unwrap();
    terms.max_deliveries = 3;
    terms.ack_wait = Some(prost_types::Duration { seconds: 0, nanos: 200_000_000 });
    let mut picky = Subscriber::new(&mut client, start).await.unwrap();
    let mut wanted = from_earliest();
    wanted.filter =
        Some(EventFilter { topics: vec!["dead_letter.*".into()], ..Default::default() });
    let mut dead = Subscriber::new(&mut client, wanted).await.unwrap();
    let mut all = Subscriber::new(&mut client, from_earliest()).await.unwrap();
    for attempt in 1..=3 {
        let delivery = picky.delivery().await;
        assert_eq!(delivery.attempt, attempt);
        // Two are done at once, position 2 never; it is refused once and then left to time out.
        picky.say(Up::Ack(Ack { up_to: 0, positions: vec![1, 3] })).await;
        if attempt == 1 {
            picky.say(Up::Nack(Nack { positions: vec![2], delay: None })).await;
        }
    }
    let letter = dead.delivery().await;
    let events = EventBatch::decode(letter.batch).unwrap().events;
    assert_eq!(events, [event(1, 2)], "as it was");
    publish(&mut client, batch(1, 4, 4)).await.unwrap();
    assert_eq!(all.sequences(4).await, [1, 2, 3, 4], "dead letters are not handed to everyone");
    assert_eq!(picky.sequences(1).await, [4]);
}

#[tokio::test]
async fn unacknowledged_events_and_credit_hold_deliveries_back() {
    let dir = tempfile::tempdir().unwrap();
    let (_bus, mut client) = bus(dir.path()).await;
    publish(&mut client, batch(1, 1, 100)).await.unwrap();
    let mut start = durable("slow");
    start.max_unacked_events = 10;
    let mut slow = Subscriber::new(&mut client, start).await.unwrap();
    assert_eq!(slow.delivery().await.positions, (1..=10).collect::<Vec<_>>());
    assert!(tokio::time::timeout(Duration::from_millis(200), slow.delivery()).await.is_err());
    slow.ack_up_to(4).await;
    assert_eq!(slow.delivery().await.positions, (11..=14).collect::<Vec<_>>());

    let mut start = from_earliest();
    start.initial_credit = 5;
    let mut paced = Subscriber::new(&mut client, start).await.unwrap();
    assert_eq!(paced.delivery().await.positions.len(), 5);
    assert!(tokio::time::timeout(Duration::from_millis(200), paced.delivery()).await.is_err());
    paced.say(Up::Credit(Credit { events: 7 })).await;
    assert_eq!(paced.delivery().await.positions, (6..=12).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_subscriber_that_stops_reading_holds_nobody_and_misses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (_bus, mut client) = bus(dir.path()).await;
    let mut deaf = Subscriber::new(&mut client, durable("deaf")).await.unwrap();
    let mut quick = Subscriber::new(&mut client, from_earliest()).await.unwrap();
    let long = "y".repeat(2_000);
    let total = 10_000;
    for first in (1..=total).step_by(500) {
        let events =
            (first..first + 500).map(|n| Event { event_id: Some(long.clone()), ..event(1, n) });
        publish(&mut client, EventBatch { events: events.collect() }.encode_to_vec())
            .await
            .unwrap();
    }
    assert_eq!(quick.sequences(total as usize).await, (1..=total).collect::<Vec<_>>());
    let mut got = std::collections::BTreeSet::new();
    while got.len() < total as usize {
        got.extend(deaf.sequences(1).await);
    }
    assert_eq!(got.len() as u64, total);
}

#[tokio::test]
async fn a_thousand_subscriptions_get_everything() {
    let dir = tempfile::tempdir().unwrap();
    let (bus, mut publisher) = bus(dir.path()).await;
    let mut subscribers = Vec::new();
    for _ in 0..4 {
        let mut client = client(&bus.url()).await;
        for _ in 0..250 {
            subscribers.push(Subscriber::new(&mut client, from_earliest()).await.unwrap());
        }
    }
    for first in [1, 51] {
        publish(&mut publisher, batch(1, first, first + 49)).await.unwrap();
    }
    for subscriber in &mut subscribers {
        assert_eq!(subscriber.sequences(100).await, (1..=100).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn the_past_is_told_by_grpc_in_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let (_bus, mut client) = bus(dir.path()).await;
    publish(&mut client, batch(1, 1, 500)).await.unwrap();
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let (more, next) = page(&mut client, 120, cursor).await;
        found.extend(more);
        cursor = next;
        if cursor.is_empty() {
            break;
        }
        assert_eq!(found.len() % 120, 0);
    }
    assert_eq!(found, (1..=500).collect::<Vec<_>>());
}

/// One page of the past: sequences, and where to go on.
async fn page(client: &mut BusClient, limit: u64, cursor: String) -> (Vec<u64>, String) {
    let request = GetHistoryRequest { limit, cursor, ..Default::default() };
    let mut answers = client.get_history(request).await.unwrap().into_inner();
    let (mut found, mut cursor) = (Vec::new(), String::new());
    while let Some(answer) = answers.message().await.unwrap() {
        found.extend(
            EventBatch::decode(answer.batch).unwrap().events.iter().map(|event| event.sequence),
        );
        cursor = answer.next_cursor;
    }
    (found, cursor)
}

#[tokio::test]
async fn a_look_into_the_past_of_a_busy_bus_ends() {
    let dir = tempfile::tempdir().unwrap();
    let (_bus, mut client) = bus(dir.path()).await;
    publish(&mut client, batch(1, 1, 10)).await.unwrap();
    let (mut found, mut cursor) = page(&mut client, 4, String::new()).await;
    for first in [11, 21, 31] {
        assert!(!cursor.is_empty(), "what was stored meanwhile is no part of it");
        publish(&mut client, batch(1, first, first + 9)).await.unwrap();
        let (more, next) = page(&mut client, 4, cursor).await;
        found.extend(more);
        cursor = next;
        if cursor.is_empty() {
            break;
        }
    }
    assert_eq!(found, (1..=10).collect::<Vec<_>>());

    let request = GetHistoryRequest { cursor: "4".to_owned(), ..Default::default() };
    let refused = client.get_history(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("next_cursor"), "{refused}");
}

async fn get(address: std::net::SocketAddr, path: &str, header: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{header}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn the_past_is_told_by_http_as_lines_of_json() {
    let dir = tempfile::tempdir().unwrap();
    let (bus, mut client) = bus(dir.path()).await;
    publish(&mut client, batch(1, 1, 20)).await.unwrap();
    let answer = get(bus.address(), "/api/v1/events?topic=system.%3E&limit=3", "").await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("application/x-ndjson"),
        "{answer}"
    );
    let lines: Vec<&str> = answer.lines().filter(|line| line.starts_with('{')).collect();
    assert_eq!(lines.len(), 4);
    assert!(
        lines[0].contains(r#""sequence":"1""#) && lines[0].contains("EVENT_TYPE_HEARTBEAT"),
        "{}",
        lines[0]
    );
    assert_eq!(lines[3], r#"{"next_cursor":"4-21"}"#);
    let answer = get(bus.address(), "/api/v1/events?topic=a..b", "").await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("a..b"), "{answer}");
}

#[tokio::test]
async fn a_token_is_asked_of_all_but_health_checks() {
    let dir = tempfile::tempdir().unwrap();
    let token = Token::new("0123456789abcdef").unwrap();
    let config = Config { token: Some(token.clone()), ..Config::embedded(dir.path()) };
    let bus = start(config).unwrap();
    let mut plain = client(&bus.url()).await;
    assert_eq!(
        publish(&mut plain, batch(1, 1, 2)).await.unwrap_err().code(),
        Code::Unauthenticated
    );
    let options = jimbot_mcp::bus::client::Options { url: bus.url(), token: Some(token.clone()) };
    let mut allowed = jimbot_mcp::bus::client::client(&options).unwrap();
    let request =
        LastSequenceRequest { publisher: Some(last_sequence_request::Publisher::LogEpoch(1)) };
    assert!(!allowed.last_sequence(request).await.unwrap().into_inner().found);
    assert!(get(bus.address(), "/api/v1/events", "").await.starts_with("HTTP/1.1 401"));
    let header = format!("Authorization: {}\r\n", token.header());
    assert!(get(bus.address(), "/api/v1/events", &header).await.starts_with("HTTP/1.1 200"));
    let channel =
        tonic::transport::Endpoint::from_shared(bus.url()).unwrap().connect().await.unwrap();
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    let request =
        tonic_health::pb::HealthCheckRequest { service: "jimbot.events.v1.EventBus".to_owned() };
    let serving = tonic_health::pb::health_check_response::ServingStatus::Serving as i32;
    assert_eq!(health.check(request).await.unwrap().into_inner().status, serving);
    let open = Config {
        listen: ([0, 0, 0, 0], 0).into(),
        token: None,
        ..Config::embedded(dir.path().join("other"))
    };
    let error = start(open).err().unwrap().to_string();
    assert!(error.contains("--token-file"), "{error}");
}

#[tokio::test]
async fn reflection_tells_the_service() {
    let dir = tempfile::tempdir().unwrap();
    let (bus, _) = bus(dir.path()).await;
    let channel =
        tonic::transport::Endpoint::from_shared(bus.url()).unwrap().connect().await.unwrap();
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_response::MessageResponse,
    };
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = ServerReflectionClient::new(channel)
        .server_reflection_info(tokio_stream::iter([request]))
        .await
        .unwrap()
        .into_inner();
    let Some(MessageResponse::ListServicesResponse(list)) =
        answers.message().await.unwrap().unwrap().message_response
    else {
        panic!("a list was asked for");
    };
    assert!(list.service.iter().any(|service| service.name == "jimbot.events.v1.EventBus"));
}

#[tokio::test]
async fn the_end_of_the_bus_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (bus, mut client) = bus(dir.path()).await;
    let mut subscriber = Subscriber::new(&mut client, from_earliest()).await.unwrap();
    assert!(matches!(subscriber.message().await, Ok(Some(Down::CaughtUp(_)))));
    tokio::task::spawn_blocking(move || bus.stop()).await.unwrap();
    let ended = subscriber.message().await;
    assert_eq!(ended.unwrap_err().code(), Code::Unavailable);
}

/// The value of a series at the bus's `/metrics`.
async fn metric(bus: &jimbot_mcp::bus::Handle, series: &str) -> Option<f64> {
    let text = get(bus.address(), "/metrics", "").await;
    assert!(text.starts_with("HTTP/1.1 200") && text.contains("text/plain"), "{text}");
    let line = text.lines().find(|line| line.starts_with(&format!("{series} ")))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[tokio::test]
async fn metrics_tell_what_happened_and_how_it_stands() {
    let dir = tempfile::tempdir().unwrap();
    let (bus, mut client) = bus(dir.path()).await;
    publish(&mut client, batch(1, 1, 10)).await.unwrap();
    publish(&mut client, batch(1, 6, 15)).await.unwrap();
    publish(&mut client, batch(0, 1, 3)).await.unwrap();
    let mut trainer = Subscriber::new(&mut client, durable("trainer")).await.unwrap();
    let delivery = trainer.delivery().await;
    trainer.ack_up_to(delivery.positions[3]).await;
    publish(&mut client, batch(1, 16, 20)).await.unwrap();
    for (series, value) in [
        ("jimbot_mcp_bus_events_stored_total", 20.0),
        ("jimbot_mcp_bus_events_duplicate_total", 5.0),
        ("jimbot_mcp_bus_events_rejected_total{reason=\"no_identity\"}", 3.0),
        ("jimbot_mcp_bus_subscriptions", 1.0),
        ("jimbot_mcp_bus_store_events", 20.0),
        ("jimbot_mcp_bus_durable_connected{durable=\"trainer\"}", 1.0),
        // Once its place is saved and the last five were delivered too.
        ("jimbot_mcp_bus_durable_lag_events{durable=\"trainer\"}", 0.0),
        ("jimbot_mcp_bus_durable_unacked_events{durable=\"trainer\"}", 16.0),
        ("jimbot_mcp_bus_events_delivered_total", 20.0),
    ] {
        while metric(&bus, series).await != Some(value) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    while metric(&bus, "jimbot_mcp_bus_fsync_seconds_count").await.unwrap() < 1.0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(metric(&bus, "jimbot_mcp_bus_store_bytes").await.unwrap() > 100.0);
    let figures = bus.figures().unwrap();
    assert_eq!((figures.stored, figures.duplicates, figures.subscriptions), (20, 5, 1));
}

#[tokio::test]
async fn durables_are_listed_and_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (bus, mut client) = bus(dir.path()).await;
    publish(&mut client, batch(1, 1, 10)).await.unwrap();
    let names = async |client: &mut BusClient| -> Vec<(String, bool, u64)> {
        let listed = client.list_durables(ListDurablesRequest {}).await.unwrap().into_inner();
        let listed = listed.durables.into_iter();
        listed
            .map(|state| (state.name, state.connected, state.lag_events + state.unacked_events))
            .collect()
    };
    assert_eq!(names(&mut client).await, []);
    let mut gone = Subscriber::new(&mut client, durable("gone")).await.unwrap();
    gone.sequences(10).await;
    // An acknowledgement is taken when it shows: the end of a stream overtakes what was said on it.
    while names(&mut client).await != [("gone".to_owned(), true, 0)] {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(gone);
    let mut here = Subscriber::new(&mut client, durable("here")).await.unwrap();
    here.sequences(10).await;
    let wanted = [("gone".to_owned(), false, 0), ("here".to_owned(), true, 0)];
    while names(&mut client).await != wanted {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let delete = |name: &str| DeleteDurableRequest { name: name.to_owned() };
    let error = client.delete_durable(delete("here")).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition, "{error:?}");
    let error = client.delete_durable(delete("nobody")).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound, "{error:?}");
    assert!(error.message().contains("`nobody`"), "{error:?}");
    let command = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_jimbot-mcp"));
        let done =
            command.args(["durables", "--bus", &bus.url()]).args(arguments).output().unwrap();
        (
            done.status.code(),
            String::from_utf8(done.stdout).unwrap(),
            String::from_utf8(done.stderr).unwrap(),
        )
    };
    let (code, table, _) = command(&[]);
    let rows: Vec<Vec<&str>> =
        table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(code, Some(0));
    assert_eq!(rows[1..], [["gone", "0", "0", "no"], ["here", "0", "0", "yes"]], "{table}");
    let (_, lines, _) = command(&["--json"]);
    let line: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!((&line["name"], &line["connected"]), (&"gone".into(), &false.into()));
    assert_eq!(command(&["--delete", "gone"]).0, Some(0));
    let (code, _, message) = command(&["--delete", "gone"]);
    assert!(code == Some(1) && message.contains("no durable `gone`"), "{message}");
    assert_eq!(names(&mut client).await, [("here".to_owned(), true, 0)]);
    // Taken again it is new, and so it is after the bus has started again.
    drop((here, client));
    bus.stop();
    let (_bus, mut client) = self::bus(dir.path()).await;
    assert_eq!(names(&mut client).await, [("here".to_owned(), false, 0)]);
    let mut again = Subscriber::new(&mut client, durable("gone")).await.unwrap();
    assert_eq!(again.sequences(10).await, (1..=10).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_too_large_or_unknown_is_named_and_hurts_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let (bus, mut client) = bus(dir.path()).await;
    let mut subscriber = Subscriber::new(&mut client, from_earliest()).await.unwrap();
    let error = publish(&mut client, vec![0; 5 << 20]).await.unwrap_err();
    assert_eq!(error.code(), Code::OutOfRange, "{error:?}");
    // Bytes that are no request at all, on a stream that others share a connection with.
    let mut raw = client.clone();
    let request = PublishEventRequest { event: vec![0xff; 100].into(), ack_level: 0 };
    let error = raw.publish_event(request).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument, "{error:?}");
    assert!(error.message().contains("REJECT_REASON_MALFORMED"), "{error:?}");
    let mut wanted = from_earliest();
    wanted.filter =
        Some(EventFilter { topics: vec!["game.>.x".to_owned()], ..EventFilter::default() });
    let (up, requests) = mpsc::channel(1);
    up.send(SubscribeRequest { request: Some(Up::Start(wanted)) }).await.unwrap();
    let mut answers = client.subscribe(ReceiverStream::new(requests)).await.unwrap().into_inner();
    let error = answers.message().await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument, "{error:?}");
    assert!(error.message().contains("`game.>.x`"), "{error:?}");
    // A pattern that selects nothing is none of those: what it names may come one day.
    let mut wanted = from_earliest();
    wanted.filter =
        Some(EventFilter { topics: vec!["weather.>".to_owned()], ..EventFilter::default() });
    let mut idle = Subscriber::new(&mut client, wanted).await.unwrap();
    publish(&mut client, batch(1, 1, 10)).await.unwrap();
    assert_eq!(subscriber.sequences(10).await, (1..=10).collect::<Vec<_>>());
    assert!(matches!(idle.message().await.unwrap(), Some(Down::CaughtUp(_))));
    assert_eq!(
        metric(&bus, "jimbot_mcp_bus_events_rejected_total{reason=\"malformed\"}").await,
        Some(1.0)
    );
}

#[tokio::test]
async fn what_retention_took_is_told_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = EmbeddedOptions::new(dir.path());
    options.retention.bytes = 64 << 10;
    let config = Config { store: StoreConfig::Embedded(options), ..Config::embedded(dir.path()) };
    let bus = jimbot_mcp::bus::start(config).unwrap();
    let mut client = client(&bus.url()).await;
    publish(&mut client, batch(1, 1, 10)).await.unwrap();
    let mut subscriber = Subscriber::new(&mut client, durable("late")).await.unwrap();
    assert_eq!(subscriber.sequences(10).await.len(), 10);
    let unacked = "jimbot_mcp_bus_durable_unacked_events{durable=\"late\"}";
    while metric(&bus, unacked).await != Some(0.0) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(subscriber);
    for first in (11..8_011).step_by(100) {
        publish(&mut client, batch(1, first, first + 99)).await.unwrap();
    }
    let mut subscriber = loop {
        // Until its former connection has let go of the name.
        if let Ok(subscriber) = Subscriber::new(&mut client, durable("late")).await {
            break subscriber;
        }
    };
    let Some(Down::Gap(gap)) = subscriber.message().await.unwrap() else {
        panic!("what is gone is told before what is there");
    };
    assert_eq!((gap.first_position, gap.reason()), (11, GapReason::Retention));
    let first = subscriber.delivery().await.positions[0];
    assert_eq!(first, gap.last_position + 1);
    let missed = metric(&bus, "jimbot_mcp_bus_events_missed_total{reason=\"retention\"}").await;
    assert_eq!(missed, Some((gap.last_position - gap.first_position + 1) as f64));
}

#[tokio::test]
async fn a_long_stream_is_stored_in_its_order() {
    let dir = tempfile::tempdir().unwrap();
    let (_handle, mut client) = bus(dir.path()).await;
    // Far more than the store's queue holds, so that many wait for a place in it.
    let batches = 5_000;
    let (send, requests) = mpsc::channel(1_024);
    let mut answers = client.publish(ReceiverStream::new(requests)).await.unwrap().into_inner();
    let sender = tokio::spawn(async move {
        for number in 1..=batches {
            let request = PublishRequest {
                batch: batch(9, number, number).into(),
                request_id: number,
                ..Default::default()
            };
            send.send(request).await.unwrap();
        }
    });
    for number in 1..=batches {
        let answer = answers.message().await.unwrap().unwrap();
        let result = answer.result.unwrap();
        assert_eq!((answer.request_id, result.first_position), (number, number));
    }
    sender.await.unwrap();
}
