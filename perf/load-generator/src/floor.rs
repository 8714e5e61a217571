//! What the floor (`jimbot-floor`) answers, where a test of the service can hold it against the real answer.

/// The service's answer to one stored event, byte for byte: a shorter one would make the floor lower than it is.
pub const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 40\r\n\r\n\
    {\"status\":\"ok\",\"stored\":1,\"repeated\":0}\n";
