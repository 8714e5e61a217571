//! The bearer token, compared in constant time.

use subtle::ConstantTimeEq;

/// A shared secret. Never printed.
#[derive(Clone)]
pub(super) struct Token(Vec<u8>);

impl Token {
    /// The token, without the white space an editor leaves around it in a file.
    pub(super) fn new(token: Vec<u8>) -> Token {
        Token(token.trim_ascii().to_vec())
    }

    /// Whether an `Authorization` value carries this token. An empty token matches nothing.
    pub(super) fn matches(&self, credentials: &[u8]) -> bool {
        let Some((scheme, rest)) = credentials.split_at_checked(7) else { return false };
        let given = rest.trim_ascii_start();
        scheme.eq_ignore_ascii_case(b"bearer ")
            && !self.0.is_empty()
            // The length is no secret; the bytes are.
            && bool::from(given.ct_eq(&self.0))
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials() {
        let token = Token::new(b"  s3cret\n".to_vec());
        for (credentials, expected) in [
            (&b"Bearer s3cret"[..], true),
            (b"bearer  s3cret", true),
            (b"Bearer s3cre", false),
            (b"Bearer s3crets", false),
            (b"Bearer ", false),
            (b"Bearer", false),
            (b"Basic s3cret", false),
            (b"s3cret", false),
            (b"", false),
        ] {
            assert_eq!(token.matches(credentials), expected);
        }
        assert!(!Token::new(b" \n".to_vec()).matches(b"Bearer "));
        assert_eq!(format!("{token:?}"), "Token(..)");
    }
}
