//! What a service asks of peers that it does not trust.

use std::fmt;
use std::io;
use std::path::Path;

/// The environment's variable that holds a service's token, for all its clients.
pub const TOKEN_VARIABLE: &str = "JIMBOT_MCP_TOKEN";

/// A service's bearer token. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// Value of the `Authorization` header.
    header: String,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// Takes the text of a token file, of which the first line counts, as for the service.
    ///
    /// # Errors
    /// Says why this can't be sent.
    pub fn new(text: &str) -> Result<Token, String> {
        let token = text.lines().next().unwrap_or_default().trim();
        if token.is_empty() {
            return Err("has no token in its first line".to_owned());
        }
        if !token.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
            return Err("holds characters that can't stand in a header; make a token with \
                        `openssl rand -hex 32`"
                .to_owned());
        }
        Ok(Token { header: format!("Bearer {token}") })
    }

    /// Reads the token of a file.
    ///
    /// # Errors
    /// Names the file and says why it gives no token.
    pub fn read(path: &Path) -> io::Result<Token> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("--token-file {} can't be read: {error}", path.display()),
            )
        })?;
        Token::new(&text).map_err(|reason| {
            let told = format!("--token-file {} {reason}", path.display());
            io::Error::new(io::ErrorKind::InvalidData, told)
        })
    }

    pub(super) fn header(&self) -> &str {
        &self.header
    }
}

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn the_first_line_is_the_token() {
        assert_eq!(Token::new(" s3cret\t\r\nnotes\n").unwrap().header(), "Bearer s3cret");
        for wrong in ["", "\n", " \ns3cret", "two\u{7f}", "geheimnißvoll"] {
            assert!(Token::new(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(format!("{:?}", Token::new("s3cret").unwrap()), "Token(…)");
    }
}
