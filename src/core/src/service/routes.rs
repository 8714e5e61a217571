//! Which request is answered by what.

use crate::http::{Method, Refusal, Status};
use crate::metrics::names::endpoint;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `POST /api/v1/events`
    Events,
    /// `POST /api/v1/events/batch`
    Batch,
    /// `POST /api/v1/commands`
    Commands,
    /// `GET /api/v1/commands/poll`
    Poll,
    /// `GET /health`, `POST /api/v1/events/health`
    Health,
    /// `GET /healthz`
    Alive,
    /// `GET /readyz`
    Ready,
    /// `GET /metrics`
    Metrics,
    /// `GET /api/v1/readers`
    Readers,
    /// A plain request to a path for WebSockets.
    WebSocketOnly,
}

const GET: &[Method] = &[Method::Get, Method::Head];
const POST: &[Method] = &[Method::Post];

/// Path, methods, their names for `Allow`, what it is.
const ROUTES: &[(&str, &[Method], &str, Route)] = &[
    ("/api/v1/events/batch", POST, "POST", Route::Batch),
    ("/api/v1/events", POST, "POST", Route::Events),
    ("/api/v1/commands/poll", GET, "GET, HEAD", Route::Poll),
    ("/api/v1/commands", POST, "POST", Route::Commands),
    (
        "/api/v1/events/health",
        &[Method::Post, Method::Get, Method::Head],
        "POST, GET, HEAD",
        Route::Health,
    ),
    ("/health", GET, "GET, HEAD", Route::Health),
    ("/healthz", GET, "GET, HEAD", Route::Alive),
    ("/readyz", GET, "GET, HEAD", Route::Ready),
    ("/metrics", GET, "GET, HEAD", Route::Metrics),
    ("/api/v1/readers", GET, "GET, HEAD", Route::Readers),
    ("/ws", GET, "GET, HEAD", Route::WebSocketOnly),
    ("/events", GET, "GET, HEAD", Route::WebSocketOnly),
];

/// What is said of a path that leads nowhere.
const NOT_FOUND: Refusal<'static> = Refusal::new(
    Status::NOT_FOUND,
    "path",
    "nothing is served under this path",
    "POST events to /api/v1/events or /api/v1/events/batch, open a WebSocket on /ws, send commands to \
     /api/v1/commands; see /health, /metrics and /api/v1/readers",
);

/// Finds what a request asks for, or says why there is nothing (404, 405).
pub(super) fn find(method: Method, path: &str) -> Result<Route, Refusal<'static>> {
    let Some((_, methods, allow, route)) = ROUTES.iter().find(|(known, ..)| *known == path) else {
        return Err(NOT_FOUND);
    };
    if methods.contains(&method) {
        return Ok(*route);
    }
    // A table of the few `Allow` values, because the headers of a refusal are borrowed.
    const ALLOW_POST: &[(&str, &str)] = &[("Allow", "POST")];
    const ALLOW_GET: &[(&str, &str)] = &[("Allow", "GET, HEAD")];
    const ALLOW_BOTH: &[(&str, &str)] = &[("Allow", "POST, GET, HEAD")];
    let headers = match *allow {
        "POST" => ALLOW_POST,
        "GET, HEAD" => ALLOW_GET,
        _ => ALLOW_BOTH,
    };
    Err(Refusal::new(
        Status::METHOD_NOT_ALLOWED,
        "method",
        "this path does not take this method",
        "use one that the Allow header names",
    )
    .with_headers(headers))
}

impl Route {
    /// The label under which requests are counted.
    pub(super) const fn label(self) -> usize {
        match self {
            Route::Events => endpoint::EVENTS,
            Route::Batch => endpoint::BATCH,
            Route::Commands => endpoint::COMMANDS,
            Route::Poll => endpoint::POLL,
            Route::Health | Route::Alive | Route::Ready => endpoint::HEALTH,
            Route::Metrics => endpoint::METRICS,
            Route::Readers => endpoint::READERS,
            Route::WebSocketOnly => endpoint::WEBSOCKET,
        }
    }
}

/// How a body's bytes are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// JSON in any of its forms.
    Json,
    /// A serialised `Event` or `EventBatch`.
    Protobuf,
    /// Something that is no event.
    Other,
}

/// What a media type says about a body. Names of plain text and of forms are taken for JSON: scripts post JSON under
/// whatever their library says by default.
pub(super) fn content(media_type: &str) -> Content {
    const JSON: &[&str] = &[
        "",
        "application/json",
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "text/plain",
        "text/json",
    ];
    const PROTOBUF: &[&str] =
        &["application/x-protobuf", "application/protobuf", "application/vnd.google.protobuf"];
    let is = |known: &&str| media_type.eq_ignore_ascii_case(known);
    if JSON.iter().any(is) || media_type.to_ascii_lowercase().ends_with("+json") {
        Content::Json
    } else if PROTOBUF.iter().any(is) {
        Content::Protobuf
    } else {
        Content::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_takes_its_methods_and_names_them_to_others() {
        for (path, methods, allow, route) in ROUTES {
            for method in [
                Method::Get,
                Method::Head,
                Method::Post,
                Method::Put,
                Method::Delete,
                Method::Options,
            ] {
                match find(method, path) {
                    Ok(found) => assert!(methods.contains(&method) && found == *route),
                    Err(refusal) => {
                        assert!(!methods.contains(&method));
                        assert_eq!(refusal.status, Status::METHOD_NOT_ALLOWED);
                        assert_eq!(refusal.headers, [("Allow", *allow)]);
                    }
                }
            }
        }
    }

    #[test]
    fn other_paths_lead_nowhere() {
        for path in ["/", "/api", "/api/v1/events/", "/API/V1/EVENTS", "*"] {
            assert_eq!(find(Method::Post, path).unwrap_err().status, Status::NOT_FOUND);
        }
    }

    #[test]
    fn media_types() {
        assert_eq!(content("application/JSON"), Content::Json);
        assert_eq!(content("application/cloudevents+json"), Content::Json);
        assert_eq!(content("application/x-protobuf"), Content::Protobuf);
        assert_eq!(content("image/png"), Content::Other);
    }

    #[test]
    fn the_page_about_http_lists_every_path_with_its_methods() {
        let page = include_str!("../../../../docs/http.md");
        for (path, _, allow, route) in ROUTES {
            // Both paths of a WebSocket stand in one line.
            if *route != Route::WebSocketOnly {
                assert!(page.contains(&format!("| `{path}` | {allow} |")), "{path}");
            }
        }
    }
}
