//! The whole service, killed while its forwarder spills and while the spill drains. What games were told is stored has to be
//! at a durable subscriber of the bus, each event once.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jimbot_proto::events::v1::EventBatch;
use jimbot_traffic::Clock;
use jimbot_traffic::workload::{Stream, Workload};
use prost::Message;

use crate::faults::Process;
use crate::support::{Subscriber, durable};

/// A service with a forwarder.
struct Service {
    child: Child,
    address: String,
}

impl Service {
    fn start(shm_dir: &Path, state: &Path, bus: &str) -> Service {
        let endpoints = shm_dir.join("endpoints.json");
        // One that was killed left it.
        std::fs::remove_file(&endpoints).ok();
        let child = Command::new(env!("CARGO_BIN_EXE_jimbot-mcp"))
            .args(["serve", "--listen", "127.0.0.1:0", "--bus", bus, "--shm-dir"])
            .arg(shm_dir)
            .args([
                "--log-bytes",
                "3MiB",
                "--max-batch-bytes",
                "128KiB",
                "--max-batch-events",
                "256",
            ])
            .env("XDG_STATE_HOME", state)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let address = loop {
            let text = std::fs::read(&endpoints).unwrap_or_default();
            if let Ok(found) = serde_json::from_slice::<serde_json::Value>(&text) {
                break found["listen"][0].as_str().unwrap().to_owned();
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        Service { child, address }
    }

    /// SIGKILL.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn metric(&self, name: &str) -> u64 {
        let text = request(&mut TcpStream::connect(&self.address).unwrap(), "GET", "/metrics", b"")
            .unwrap();
        let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    fn until(&self, name: &str, wanted: impl Fn(u64) -> bool) {
        while !wanted(self.metric(name)) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Killed already in most cases.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The answer to a request, or `None` when the service died over it.
fn request(stream: &mut TcpStream, method: &str, path: &str, body: &[u8]) -> Option<String> {
    let length = body.len();
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body].concat()).ok()?;
    let mut answer = Vec::new();
    loop {
        let mut piece = [0; 16_384];
        match stream.read(&mut piece).ok()? {
            0 => return None,
            read => answer.extend_from_slice(&piece[..read]),
        }
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
        if body.len() >= length.parse::<usize>().unwrap() {
            return Some(text.into_owned());
        }
    }
}

/// A game: sends each event until it is told that it is stored, as the mod does.
struct Game {
    body: Vec<u8>,
    id: std::ops::Range<usize>,
    next: u64,
    acknowledged: Vec<String>,
}

impl Game {
    fn new() -> Game {
        let body = Stream::new(Workload::Small, 1, Clock::EXAMPLE).next_body();
        Game { body: body.bytes, id: body.ids[0].clone(), next: 0, acknowledged: Vec::new() }
    }

    /// Sends events until one is not answered: the service has died.
    fn play(&mut self, service: &Service, mut enough: impl FnMut(usize) -> bool) {
        let Ok(mut stream) = TcpStream::connect(&service.address) else { return };
        let before = self.acknowledged.len();
        while !enough(self.acknowledged.len() - before) {
            let id = format!("00000000-0000-4000-8000-{:012}", self.next);
            self.body[self.id.clone()].copy_from_slice(id.as_bytes());
            match request(&mut stream, "POST", "/api/v1/events", &self.body) {
                Some(answer) => assert!(answer.starts_with("HTTP/1.1 200"), "{answer}"),
                // It may be stored: it goes out again, under the same id.
                None => return,
            }
            self.acknowledged.push(id);
            self.next += 1;
        }
    }
}

#[tokio::test]
async fn a_service_killed_while_it_spills_and_while_it_drains_loses_and_doubles_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let shm_dir = tempfile::Builder::new().prefix("jimbot-spill-").tempdir_in("/dev/shm").unwrap();
    let shm_dir = shm_dir.path().join("log");
    let address = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().to_string()
    };
    let url = format!("http://{address}");
    let mut game = Game::new();

    // The bus is away: the spill grows, and each time the service is killed in the middle of that, and of an event.
    for _ in 0..3 {
        let mut service = Service::start(&shm_dir, dir.path(), &url);
        let mut spilled = 0;
        game.play(&service, |sent| {
            if sent % 200 == 0 {
                spilled = service.metric("jimbot_mcp_forwarder_spill_events");
            }
            sent >= 500 && spilled > 300
        });
        let pid = rustix::process::Pid::from_child(&service.child);
        let mut left = 77;
        game.play(&service, |_| {
            left -= 1;
            if left == 0 {
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            }
            false
        });
        service.child.wait().unwrap();
    }

    // The bus is there, but its disk is full after a part: the drain stands in the middle when the service is killed.
    let bus_dir = dir.path().join("bus");
    let bus = Process::start_at(&bus_dir, &address, &[]);
    bus.limit_files("100000");
    let mut service = Service::start(&shm_dir, dir.path(), &url);
    service.until("jimbot_mcp_forwarder_published_total", |events| events > 0);
    service.until("jimbot_mcp_forwarder_failures_total", |failures| failures > 0);
    assert!(service.metric("jimbot_mcp_forwarder_spill_events") > 0, "some is left");
    service.kill();

    bus.limit_files("unlimited");
    let service = Service::start(&shm_dir, dir.path(), &url);
    game.play(&service, |sent| sent >= 50);
    let mut client = bus.client().await;
    let mut subscriber = Subscriber::new(&mut client, durable("checker")).await.unwrap();
    let mut found: BTreeMap<String, u32> = BTreeMap::new();
    while found.len() < game.acknowledged.len() {
        let delivery = subscriber.delivery().await;
        for event in EventBatch::decode(delivery.batch).unwrap().events {
            *found.entry(event.event_id.unwrap()).or_default() += 1;
        }
        subscriber.ack_up_to(*delivery.positions.last().unwrap()).await;
    }
    let wanted: BTreeMap<String, u32> = game.acknowledged.into_iter().map(|id| (id, 1)).collect();
    assert!(found == wanted, "{} events found, {} acknowledged", found.len(), wanted.len());
}
