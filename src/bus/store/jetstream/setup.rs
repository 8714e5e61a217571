//! Stream and bucket as they are configured, and what the servers' acknowledgement is worth.

use std::time::Duration;

use async_nats::jetstream::{Context, kv, stream};
use jimbot_proto::EVENT_TYPES;
use jimbot_proto::events::v1::AckLevel;

use super::{FETCH_WAIT, JetStreamOptions, StoreError, unavailable};
use crate::bus::topic;

/// First words of all topics.
pub(super) fn roots() -> Vec<&'static str> {
    let mut roots: Vec<&str> =
        EVENT_TYPES.iter().filter_map(|spec| spec.topic.split('.').next()).collect();
    roots.push(topic::DEAD_LETTER);
    roots.sort_unstable();
    roots.dedup();
    roots
}

/// Waits for a cluster that is about to choose its leaders.
async fn patiently<T, E: std::fmt::Display>(
    mut ask: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, StoreError> {
    let mut left = 20;
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) if left == 0 => return Err(unavailable(error)),
            Err(error) => log::debug!("NATS is not ready: {error}"),
        }
        left -= 1;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

pub(super) async fn prepare_stream(
    context: &Context,
    options: &JetStreamOptions,
) -> Result<stream::Stream, StoreError> {
    let limit = |value: u64| i64::try_from(value).unwrap_or(-1);
    let config = stream::Config {
        name: options.stream.clone(),
        description: Some("Events of JimBot MCP, one message each".to_owned()),
        subjects: roots().iter().map(|root| format!("{root}.>")).collect(),
        max_bytes: limit(options.retention.bytes),
        max_messages: limit(options.retention.events),
        // The servers count in signed nanoseconds.
        max_age: Duration::from_nanos(options.retention.age_ns.min(i64::MAX as u64)),
        discard: stream::DiscardPolicy::Old,
        storage: if options.in_memory {
            stream::StorageType::Memory
        } else {
            stream::StorageType::File
        },
        num_replicas: options.replicas,
        duplicate_window: options.duplicate_window,
        allow_direct: true,
        ..stream::Config::default()
    };
    let stream = patiently(async || context.get_or_create_stream(config.clone()).await).await?;
    let found = &stream.cached_info().config;
    if found.storage != config.storage {
        return Err(StoreError::Limit(format!(
            "stream {} keeps its messages {}, which can't be changed; name another with --nats-stream",
            config.name,
            if options.in_memory { "on disk" } else { "in memory" }
        )));
    }
    let same = (found.max_bytes, found.max_messages, found.max_age, found.num_replicas)
        == (config.max_bytes, config.max_messages, config.max_age, config.num_replicas)
        && found.duplicate_window == config.duplicate_window
        && config.subjects.iter().all(|subject| found.subjects.contains(subject));
    if same {
        return Ok(stream);
    }
    log::info!("changing stream {} to what is configured", config.name);
    patiently(async || context.update_stream(&config).await).await?;
    patiently(async || context.get_stream(&config.name).await).await
}

pub(super) async fn prepare_bucket(
    context: &Context,
    options: &JetStreamOptions,
) -> Result<kv::Store, StoreError> {
    let config = kv::Config {
        bucket: format!("{}_state", options.stream),
        description: "Where durables stand, and which events are stored".to_owned(),
        history: 1,
        num_replicas: options.replicas,
        storage: if options.in_memory {
            stream::StorageType::Memory
        } else {
            stream::StorageType::File
        },
        ..kv::Config::default()
    };
    patiently(async || context.create_or_update_key_value(config.clone()).await).await
}

/// What the servers' acknowledgement means, as far as that can be seen; warns when it is less than it seems.
pub(super) async fn level(options: &JetStreamOptions) -> AckLevel {
    if options.replicas > 1 {
        if options.in_memory {
            log::warn!(
                "stream {} is in memory: it is lost when the cluster's nodes end together",
                options.stream
            );
        }
        return AckLevel::Replicated;
    }
    if options.in_memory {
        return AckLevel::Memory;
    }
    let remedy =
        "set `jetstream { sync_interval: always }` on the servers, or use --nats-replicas 3";
    match &options.monitor {
        Some(monitor) => match sync_always(monitor).await {
            Ok(true) => return AckLevel::Fsynced,
            Ok(false) => log::warn!(
                "NATS flushes after it acknowledges: a power cut loses acknowledged events; {remedy}"
            ),
            Err(reason) => log::warn!("how NATS flushes can't be seen at {monitor}: {reason}"),
        },
        None => log::warn!(
            "NATS flushes every 2 minutes unless told otherwise, and acknowledges before: a power cut then loses acknowledged events; {remedy}, and let --nats-monitor show it"
        ),
    }
    AckLevel::Written
}

/// Asks a server's monitoring whether it flushes before it acknowledges.
async fn sync_always(monitor: &str) -> Result<bool, String> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let address = monitor.trim_start_matches("http://").trim_end_matches('/');
    let exchange = async {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        let request = format!("GET /varz HTTP/1.0\r\nHost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(1 << 20).read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(FETCH_WAIT, exchange)
        .await
        .map_err(|_| "no answer".to_owned())?
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&answer);
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body).ok_or("no HTTP answer")?;
    let varz: serde_json::Value = serde_json::from_str(body).map_err(|error| error.to_string())?;
    Ok(varz["jetstream"]["config"]["sync_always"].as_bool().unwrap_or(false))
}
