//! The bus's own port in HTTP: `GET /api/v1/events` tells the past as lines of JSON, `GET /metrics` how the bus stands.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use jimbot_core::time::SECOND;
use jimbot_proto::EVENT_TYPES;
use jimbot_proto::events::v1::EventFilter;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::filter::Filter;
use super::history::{Past, Query};
use super::store::StoreError;
use super::{Bus, scan};
use crate::tail::json;

pub(super) fn routes(bus: Arc<Bus>) -> Router {
    Router::new()
        .route("/api/v1/events", get(events))
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .with_state(bus)
}

async fn events(State(bus): State<Arc<Bus>>, RawQuery(query): RawQuery) -> Response {
    let query = match parse(&query.unwrap_or_default()) {
        Ok(query) => query,
        Err(reason) => return (StatusCode::BAD_REQUEST, format!("{reason}\n")).into_response(),
    };
    let past = match Past::new(&bus, query).await {
        Ok(past) => past,
        Err(error) => return refuse(&error),
    };
    let (out, stream) = mpsc::channel::<Result<Bytes, StoreError>>(2);
    tokio::spawn(write(past, out));
    let headers = [("content-type", "application/x-ndjson"), ("cache-control", "no-store")];
    (headers, Body::from_stream(ReceiverStream::new(stream))).into_response()
}

async fn metrics(State(bus): State<Arc<Bus>>) -> Response {
    let headers = [("content-type", "text/plain; version=0.0.4"), ("cache-control", "no-store")];
    (headers, bus.metrics().await).into_response()
}

fn refuse(error: &StoreError) -> Response {
    let status = match error {
        StoreError::Full(_) => StatusCode::INSUFFICIENT_STORAGE,
        StoreError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        StoreError::Level { .. } | StoreError::Limit(_) => StatusCode::BAD_REQUEST,
    };
    (status, format!("{error}\n")).into_response()
}

/// One line an event. When more is left than was asked for, a last line `{"next_cursor":"…"}` tells where to go on.
async fn write(mut past: Past, out: mpsc::Sender<Result<Bytes, StoreError>>) {
    let decoder = json::Decoder::new();
    loop {
        match past.next().await {
            Ok(Some(cut)) => {
                let mut lines = String::new();
                for element in scan::elements(&cut.batch).flatten() {
                    match decoder.decode(element.event) {
                        Ok(event) => json::write(&mut lines, &event),
                        Err(error) => {
                            let text = serde_json::json!({ "unreadable": error.to_string() });
                            lines.push_str(&format!("{text}\n"));
                        }
                    }
                }
                if out.send(Ok(lines.into())).await.is_err() {
                    return;
                }
            }
            Ok(None) => {
                let cursor = past.cursor();
                if !cursor.is_empty() {
                    let line = format!("{}\n", serde_json::json!({ "next_cursor": cursor }));
                    // The asker may have gone.
                    out.send(Ok(line.into())).await.ok();
                }
                return;
            }
            Err(error) => {
                out.send(Err(error)).await.ok();
                return;
            }
        }
    }
}

fn parse(text: &str) -> Result<Query, String> {
    let mut query = Query::default();
    let mut wanted = EventFilter::default();
    for (key, value) in pairs(text)? {
        match key.as_str() {
            "from" => query.from_ns = Some(time(&key, &value)?),
            "to" => query.to_ns = Some(time(&key, &value)?),
            "type" => {
                let spec = EVENT_TYPES.iter().find(|spec| {
                    spec.names.contains(&value.as_str())
                        || spec.event_type.as_str_name().strip_prefix("EVENT_TYPE_") == Some(&value)
                });
                let spec = spec.ok_or_else(|| format!("type: there is no event type `{value}`"))?;
                wanted.types.push(spec.event_type as i32);
            }
            "topic" => wanted.topics.push(value),
            "game" => wanted.game_keys.push(number(&key, &value)?),
            "source" => wanted.sources.push(value),
            "limit" => query.limit = number(&key, &value)?,
            "cursor" => query.cursor = Some(value.parse()?),
            _ => {
                return Err(format!(
                    "there is no parameter `{key}`; there are from, to, type, topic, game, source, limit, cursor"
                ));
            }
        }
    }
    query.filter = Filter::new(&wanted).map_err(|bad| bad.to_string())?;
    Ok(query)
}

fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(key)?, decode(value)?))
        })
        .collect()
}

fn decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = rest.get(..2).and_then(|two| std::str::from_utf8(two).ok());
                let value = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
                bytes.push(value.ok_or("a `%` stands before two hexadecimal digits")?);
                rest = &rest[2..];
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).map_err(|_| "parameters are UTF-8".to_owned())
}

fn number(key: &str, value: &str) -> Result<u64, String> {
    value.parse().map_err(|_| format!("{key}: `{value}` is no whole number"))
}

/// RFC 3339, or seconds since 1970.
fn time(key: &str, value: &str) -> Result<u64, String> {
    if let Ok(seconds) = value.parse::<f64>()
        && (0.0..1e10).contains(&seconds)
    {
        return Ok((seconds * SECOND as f64) as u64);
    }
    let time = humantime::parse_rfc3339_weak(value).map_err(|_| {
        format!("{key}: `{value}` is neither 2026-01-31T12:00:00Z nor seconds since 1970")
    })?;
    let since = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Ok(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_and_mistakes_named() {
        let query = parse("from=1970-01-01T00:00:02Z&to=3.5&type=HAND_PLAYED&topic=game.%3E&game=7&limit=5&cursor=9-12").unwrap();
        assert_eq!((query.from_ns, query.to_ns), (Some(2 * SECOND), Some(3_500_000_000)));
        assert_eq!((query.limit, query.cursor), (5, Some("9-12".parse().unwrap())));
        assert!(
            query.filter.wants_topic("game.hand.played")
                && !query.filter.wants_topic("system.error")
        );
        for (text, name) in [
            ("limit=x", "limit"),
            ("type=NOPE", "type"),
            ("topic=a..b", "topics"),
            ("from=noon", "from"),
            ("what=1", "what"),
            ("topic=%zz", "%"),
            ("cursor=9", "cursor"),
        ] {
            let reason = parse(text).unwrap_err();
            assert!(reason.contains(name), "{text}: {reason}");
        }
    }
}
