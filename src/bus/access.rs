//! Who may use the bus: a bearer token, compared in constant time. Health checks need none.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;
use tonic::Status;

/// The token that every call has to carry.
#[derive(Clone)]
pub struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// Takes the text of a token file: one line.
    pub fn new(text: &str) -> Result<Token, String> {
        let token = text.trim();
        if token.len() < 16 || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("a token is one line of 16 and more printable characters; make one with `openssl rand -hex 32`".to_owned());
        }
        Ok(Token(token.to_owned()))
    }

    /// What clients send in the header `authorization`.
    pub fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }

    fn allows(&self, header: Option<&[u8]>) -> bool {
        header.is_some_and(|header| bool::from(header.ct_eq(self.header().as_bytes())))
    }
}

/// Lets a request through, or answers it in the way of its protocol.
pub(super) async fn guard(State(token): State<Token>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let open = path == "/healthz" || path.starts_with("/grpc.health.v1.Health/");
    let header = request.headers().get("authorization").map(|value| value.as_bytes());
    if open || token.allows(header) {
        return next.run(request).await;
    }
    let message = "this bus needs the header `authorization: Bearer <token>`";
    let content_type = request.headers().get("content-type").map(|value| value.as_bytes());
    if content_type.is_some_and(|value| value.starts_with(b"application/grpc")) {
        return Status::unauthenticated(message).into_http();
    }
    let headers = [("www-authenticate", "Bearer"), ("content-type", "text/plain")];
    (axum::http::StatusCode::UNAUTHORIZED, headers, format!("{message}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_is_let_in() {
        let token = Token::new("0123456789abcdef\n").unwrap();
        assert!(token.allows(Some(b"Bearer 0123456789abcdef")));
        for header in
            [None, Some(&b"Bearer 0123456789abcde"[..]), Some(b"0123456789abcdef"), Some(b"")]
        {
            assert!(!token.allows(header));
        }
        assert!(Token::new("short").is_err() && !format!("{token:?}").contains("0123"));
    }
}
