//! Status codes this service answers with.

/// An HTTP status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status(u16);

macro_rules! statuses {
    ($($name:ident = $code:literal $reason:literal;)*) => {
        impl Status {
            $(#[doc = concat!($code, " ", $reason)] pub const $name: Status = Status($code);)*

            /// The reason phrase; empty for a code this table does not name.
            pub const fn reason(self) -> &'static str {
                match self.0 {
                    $($code => $reason,)*
                    _ => "",
                }
            }
        }
    };
}

statuses! {
    SWITCHING_PROTOCOLS = 101 "Switching Protocols";
    OK = 200 "OK";
    ACCEPTED = 202 "Accepted";
    NO_CONTENT = 204 "No Content";
    MULTI_STATUS = 207 "Multi-Status";
    BAD_REQUEST = 400 "Bad Request";
    UNAUTHORIZED = 401 "Unauthorized";
    FORBIDDEN = 403 "Forbidden";
    NOT_FOUND = 404 "Not Found";
    METHOD_NOT_ALLOWED = 405 "Method Not Allowed";
    NOT_ACCEPTABLE = 406 "Not Acceptable";
    REQUEST_TIMEOUT = 408 "Request Timeout";
    CONFLICT = 409 "Conflict";
    LENGTH_REQUIRED = 411 "Length Required";
    CONTENT_TOO_LARGE = 413 "Content Too Large";
    URI_TOO_LONG = 414 "URI Too Long";
    UNSUPPORTED_MEDIA_TYPE = 415 "Unsupported Media Type";
    EXPECTATION_FAILED = 417 "Expectation Failed";
    UNPROCESSABLE_CONTENT = 422 "Unprocessable Content";
    UPGRADE_REQUIRED = 426 "Upgrade Required";
    TOO_MANY_REQUESTS = 429 "Too Many Requests";
    HEADER_FIELDS_TOO_LARGE = 431 "Request Header Fields Too Large";
    INTERNAL_SERVER_ERROR = 500 "Internal Server Error";
    NOT_IMPLEMENTED = 501 "Not Implemented";
    SERVICE_UNAVAILABLE = 503 "Service Unavailable";
    VERSION_NOT_SUPPORTED = 505 "HTTP Version Not Supported";
}

impl Status {
    /// A final code by number, for instance one a table holds.
    ///
    /// # Panics
    /// When `code` is not within 200..=599: interim answers are the machine's own business.
    pub const fn new(code: u16) -> Status {
        assert!(code >= 200 && code <= 599, "a final status code lies within 200..=599");
        Status(code)
    }

    /// The number.
    pub const fn code(self) -> u16 {
        self.0
    }

    /// Whether the code says success (2xx).
    pub const fn is_success(self) -> bool {
        self.0 / 100 == 2
    }

    /// Whether an answer with this code has neither body nor `Content-Length` (RFC 9110, section 8.6).
    pub(crate) const fn is_bodiless(self) -> bool {
        self.0 < 200 || self.0 == 204 || self.0 == 304
    }
}
