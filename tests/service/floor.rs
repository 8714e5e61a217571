//! The floor that the measurements set the service against answers what the service answers.

use std::io::Write;

use crate::support::{Service, connect, read_answer};

#[test]
fn the_floor_answers_something_else_than_the_service() {
    let service = Service::start(&[]);
    let mut stream = connect(&service.address);
    let body = r#"{"type":"HEARTBEAT"}"#;
    write!(
        stream,
        "POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("the request is taken");
    let floor = String::from_utf8_lossy(jimbot_perf::floor::ANSWER);
    assert_eq!(read_answer(&mut stream), floor, "perf's floor must answer the same bytes");
}
