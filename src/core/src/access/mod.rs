//! Who may come in: a token for peers from elsewhere, and no web page at all.
//!
//! A page in the player's browser can send requests to this host. Three things give it away, and each alone is enough
//! to refuse it: `Sec-Fetch-Site`, which a page can't forge; `Origin`, which says where it came from; and `Host`, which
//! after DNS rebinding still holds the page's own name. Health checks are free of token and `Host`, as load balancers
//! and kubelets send neither, and no page learns anything from them: it may not read the answer.

mod authority;
mod token;

use crate::conn::Peer;
use crate::http::{Field, Refusal, Request, Status};
use authority::{Authority, Host, same_name};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use token::Token;

/// Paths that answer without token and without a look at `Host`.
pub const HEALTH_PATHS: [&str; 4] = ["/health", "/api/v1/events/health", "/healthz", "/readyz"];

/// Who may come in, as configured.
#[derive(Clone, Debug)]
pub struct AccessConfig {
    /// The bearer token that peers outside `trusted` need; without one nobody needs a token.
    pub token: Option<Vec<u8>>,
    /// Peers that need no token, beside those that come through a Unix socket.
    pub trusted: Vec<IpNet>,
    /// Names this host goes by, beside addresses and `localhost`.
    pub host_names: Vec<String>,
    /// The addresses listened on.
    pub listeners: Vec<SocketAddr>,
}

impl Default for AccessConfig {
    /// No token, and who comes from this host needs none.
    fn default() -> AccessConfig {
        let loopback = ["127.0.0.0/8", "::1/128"];
        AccessConfig {
            token: None,
            trusted: loopback.map(|net| net.parse().expect("a constant network parses")).to_vec(),
            host_names: Vec::new(),
            listeners: Vec::new(),
        }
    }
}

/// Gives a verdict on every request head.
#[derive(Clone, Debug)]
pub struct Access {
    token: Option<Token>,
    trusted: Vec<IpNet>,
    host_names: Vec<String>,
    ports: Vec<u16>,
    addresses: Vec<IpAddr>,
    /// `Host` values that most clients send, to be compared without being parsed.
    usual_hosts: Vec<Box<[u8]>>,
}

const NEEDS_TOKEN: Refusal<'static> = Refusal::new(
    Status::UNAUTHORIZED,
    "Authorization",
    "a client from this address needs the service's token, and the request has none",
    "send `Authorization: Bearer` with the content of the token file",
)
.with_headers(&[("WWW-Authenticate", "Bearer realm=\"jimbot-mcp\"")]);

const WRONG_TOKEN: Refusal<'static> = Refusal::new(
    Status::UNAUTHORIZED,
    "Authorization",
    "the token is not the service's",
    "send `Authorization: Bearer` with the content of the token file",
)
.with_headers(&[("WWW-Authenticate", "Bearer realm=\"jimbot-mcp\", error=\"invalid_token\"")]);

const FROM_A_PAGE: Refusal<'static> = Refusal::new(
    Status::FORBIDDEN,
    "Sec-Fetch-Site",
    "a web page of another site sent this request",
    "use a program that is no web page, or a page this service delivered",
);

const FOREIGN_ORIGIN: Refusal<'static> = Refusal::new(
    Status::FORBIDDEN,
    "Origin",
    "the request comes from a web page this service did not deliver",
    "use a program that is no web page, or a page this service delivered",
);

const FOREIGN_HOST: Refusal<'static> = Refusal::new(
    Status::FORBIDDEN,
    "Host",
    "the name is neither an address nor localhost nor one of this service's host names",
    "use the address, or start the service with --host-name NAME",
);

impl Access {
    /// Sets the rules.
    pub fn new(config: AccessConfig) -> Access {
        let mut ports: Vec<u16> = config.listeners.iter().map(SocketAddr::port).collect();
        ports.dedup();
        let usual_hosts = ports
            .iter()
            .flat_map(|port| [format!("localhost:{port}"), format!("127.0.0.1:{port}")])
            .chain(["localhost".to_owned(), "127.0.0.1".to_owned()])
            .map(|host| host.into_bytes().into_boxed_slice())
            .collect();
        Access {
            token: config.token.map(Token::new),
            trusted: config.trusted,
            host_names: config.host_names,
            ports,
            addresses: config.listeners.iter().map(SocketAddr::ip).collect(),
            usual_hosts,
        }
    }

    /// Whether this peer needs no token.
    pub fn trusts(&self, peer: Peer) -> bool {
        match peer {
            Peer::Local => true,
            // A listener on `::` sees IPv4 peers as mapped addresses.
            Peer::Address(address) => {
                let address = address.to_canonical();
                self.trusted.iter().any(|net| net.contains(&address))
            }
        }
    }

    /// Whether requests of this peer need the token.
    pub fn asks_for_token(&self, peer: Peer) -> bool {
        self.token.is_some() && !self.trusts(peer)
    }

    /// Refuses what may not come in.
    ///
    /// # Errors
    /// The refusal to answer with: 401 or 403.
    pub fn check(&self, request: &Request<'_>, peer: Peer) -> Result<(), Refusal<'static>> {
        if let Some(site) = request.field(Field::SecFetchSite)
            && !matches!(site, b"same-origin" | b"none")
        {
            return Err(FROM_A_PAGE);
        }
        let origin = request.field(Field::Origin);
        let host = request.field(Field::Host);
        let host_is_ours = host.is_none_or(|host| self.is_own_host(host));
        if let Some(origin) = origin
            && !self.is_own_origin(origin, host.filter(|_| host_is_ours))
        {
            return Err(FOREIGN_ORIGIN);
        }
        if HEALTH_PATHS.contains(&request.path()) {
            return Ok(());
        }
        if !host_is_ours {
            return Err(FOREIGN_HOST);
        }
        match &self.token {
            Some(token) if self.asks_for_token(peer) => match request.field(Field::Authorization) {
                None => Err(NEEDS_TOKEN),
                Some(credentials) if token.matches(credentials) => Ok(()),
                Some(_) => Err(WRONG_TOKEN),
            },
            _ => Ok(()),
        }
    }

    /// Whether a `Host` is an address, `localhost` or a configured name. The port does not matter: an HTTP library
    /// below the mod leaves it out, and a forwarded port has another number.
    fn is_own_host(&self, host: &[u8]) -> bool {
        if self.usual_hosts.iter().any(|usual| **usual == *host) {
            return true;
        }
        match Authority::parse(host).map(|authority| authority.host) {
            Some(Host::Address(_)) => true,
            Some(Host::Name(name)) => self.is_own_name(name),
            None => false,
        }
    }

    fn is_own_name(&self, name: &str) -> bool {
        same_name(name, "localhost") || self.host_names.iter().any(|own| same_name(name, own))
    }

    /// Whether a page of this origin was delivered by us: it names what the request itself was sent to, or another
    /// port that we listen on at the same host. `null` and everything that is not http(s) is foreign.
    fn is_own_origin(&self, origin: &[u8], host: Option<&[u8]>) -> bool {
        let (rest, default_port) = if let Some(rest) = strip_prefix(origin, b"http://") {
            (rest, 80)
        } else if let Some(rest) = strip_prefix(origin, b"https://") {
            (rest, 443)
        } else {
            return false;
        };
        let Some(origin) = Authority::parse(rest) else { return false };
        let port = origin.port.unwrap_or(default_port);
        if let Some(host) = host.and_then(Authority::parse)
            && host.host == origin.host
            && host.port.unwrap_or(default_port) == port
        {
            return true;
        }
        self.ports.contains(&port)
            && match &origin.host {
                Host::Name(name) => self.is_own_name(name),
                Host::Address(address) => address.is_loopback() || self.addresses.contains(address),
            }
    }
}

fn strip_prefix<'a>(text: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}
