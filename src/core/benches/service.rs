//! What the whole service costs an event in memory, beside the conversion alone, which is the floor.
//!
//! `cargo bench -p jimbot-core --bench service`: the difference is HTTP or WebSocket, repeats, session, append and answer.

mod pairs;

use std::hint::black_box;

use jimbot_core::access::{Access, AccessConfig};
use jimbot_core::conn::Peer;
use jimbot_core::convert::{BodyCursor, BodyForm, Context, Converter, Step};
use jimbot_core::log::{MemoryLog, MemoryLogOptions};
use jimbot_core::service::{ConnId, Service, ServiceConfig};
use jimbot_core::time::{Now, SECOND};
use pairs::{is_quick, pair};

const START: Now = Now { mono_ns: 1_000 * SECOND, unix_ns: 1_780_000_000 * SECOND };
/// Digits of an id that change with each event, so that none is a repeat.
const DIGITS: usize = 10;

struct World {
    service: Service<MemoryLog>,
    id: ConnId,
    now: Now,
    changed: Vec<ConnId>,
    /// Numbers the events.
    count: u64,
}

impl World {
    fn new() -> World {
        let options = MemoryLogOptions { frames_kept: 2, ..MemoryLogOptions::default() };
        let config = ServiceConfig::new(Access::new(AccessConfig::default()));
        let mut service = Service::new(config, MemoryLog::new(options), START);
        let id = service.accept(Peer::Local, START).expect("a place is free");
        World { service, id, now: START, changed: Vec::new(), count: 0 }
    }

    /// Gives every event in the bytes another id.
    fn renumber(&mut self, bytes: &mut [u8], places: &[usize]) {
        for &place in places {
            self.count += 1;
            let mut rest = self.count;
            for digit in bytes[place..place + DIGITS].iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
    }

    fn turn(&mut self, bytes: &[u8]) -> usize {
        self.now = self.now.plus(10_000);
        let now = self.now;
        let mut rest = bytes;
        while !rest.is_empty() {
            let space = self.service.read_space(self.id, now);
            let length = space.len().min(rest.len());
            space[..length].copy_from_slice(&rest[..length]);
            self.service.filled(self.id, length, now);
            rest = &rest[length..];
            while self.service.work(|| now) {}
            self.service.take_changed(&mut self.changed);
            for id in self.changed.drain(..) {
                let length = self.service.output(id).len();
                self.service.output_sent(id, length, now);
                self.service.wants(id);
            }
        }
        self.service.on_time(now);
        self.service.idle(now);
        bytes.len()
    }
}

fn small() -> String {
    let id = "0".repeat(DIGITS);
    format!(
        r#"{{"type":"MONEY_CHANGED","source":"BalatroMCP","timestamp":86400516.669667,"event_id":"4f6d{id}-8a1b","version":1,"payload":{{"old_value":4,"new_value":7,"difference":3}}}}"#
    )
}

fn places(bytes: &[u8]) -> Vec<usize> {
    let mark = b"\"event_id\":\"4f6d";
    let found = bytes.windows(mark.len()).enumerate().filter(|(_, window)| window == mark);
    found.map(|(at, _)| at + mark.len()).collect()
}

fn post(path: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost:8080\r\nContent-Type: application/json\r\n\
         User-Agent: BalatroMCP/1.0\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn convert(converter: &mut Converter, form: BodyForm, body: &[u8], room: &mut [u8]) -> usize {
    let context = Context { lenient: true, ..Context::default() };
    let mut cursor = BodyCursor::new(form);
    let mut passed = 0;
    loop {
        match converter.next(&mut cursor, body, &context, room) {
            Step::Event(event) => passed += event.element_len,
            Step::Done(_) => return passed,
            other => panic!("{other:?}"),
        }
    }
}

fn main() {
    let quick = is_quick();
    let mut converter = Converter::new();
    let mut room = vec![0; 1 << 20];

    let body = small();
    let mut request = post("/api/v1/events", &body);
    let ids = places(&request);
    let mut world = World::new();
    let mut ours = || {
        world.renumber(&mut request, &ids);
        world.turn(black_box(&request))
    };
    pair("http", quick, 1, &mut ours, &mut || {
        convert(&mut converter, BodyForm::Events, black_box(body.as_bytes()), &mut room)
    });

    let body = format!("{{\"batch_id\":\"b\",\"events\":[{}]}}", vec![small(); 50].join(","));
    let mut request = post("/api/v1/events/batch", &body);
    let ids = places(&request);
    let mut world = World::new();
    let mut ours = || {
        world.renumber(&mut request, &ids);
        world.turn(black_box(&request))
    };
    pair("batch", quick, 50, &mut ours, &mut || {
        convert(&mut converter, BodyForm::Batch, black_box(body.as_bytes()), &mut room)
    });

    let body = small();
    let mut frames: Vec<u8> = Vec::new();
    for _ in 0..64 {
        frames.extend([0x81, 0x80 | 126]);
        frames.extend((body.len() as u16).to_be_bytes());
        frames.extend([0; 4]);
        frames.extend(body.as_bytes());
    }
    let ids = places(&frames);
    let mut world = World::new();
    world.turn(
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let mut ours = || {
        world.renumber(&mut frames, &ids);
        world.turn(black_box(&frames))
    };
    pair("websocket", quick, 64, &mut ours, &mut || {
        (0..64)
            .map(|_| {
                convert(&mut converter, BodyForm::Message, black_box(body.as_bytes()), &mut room)
            })
            .sum()
    });
}
