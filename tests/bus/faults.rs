//! The bus as a process that is killed, and that runs out of disk.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jimbot_proto::events::v1::{EventBatch, PublishRequest};
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use crate::support::{
    BusClient, Subscriber, batch, client, durable, event, from_earliest, publish,
};

/// A bus in a process of its own.
pub(crate) struct Process {
    child: Child,
    url: String,
}

impl Process {
    pub(crate) fn start(dir: &Path, more: &[&str]) -> Process {
        Process::start_at(dir, "127.0.0.1:0", more)
    }

    pub(crate) fn start_at(dir: &Path, listen: &str, more: &[&str]) -> Process {
        let mut child = Command::new(env!("CARGO_BIN_EXE_jimbot-mcp"))
            .args(["bus", "--listen", listen, "--dir"])
            .arg(dir)
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("event bus on ").unwrap().to_owned();
        Process { child, url }
    }

    pub(crate) async fn client(&self) -> BusClient {
        client(&self.url).await
    }

    /// Files may not grow past this: what the process sees is what it sees on a full disk, at any byte of a write.
    pub(crate) fn limit_files(&self, bytes: &str) {
        let pid = self.child.id().to_string();
        let done = Command::new("prlimit")
            .args(["--pid", &pid, &format!("--fsize={bytes}:unlimited")])
            .status()
            .unwrap();
        assert!(done.success());
    }

    /// Resident memory, in bytes.
    fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// SIGKILL.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Ended already in most tests.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[tokio::test]
async fn a_killed_bus_has_all_that_it_acknowledged_once() {
    let dir = tempfile::tempdir().unwrap();
    let rounds = 6;
    let mut acknowledged = 0;
    for round in 0..rounds {
        let process = Process::start(dir.path(), &[]);
        let mut client = process.client().await;
        let (send, requests) = mpsc::channel(64);
        let mut answers = client.publish(ReceiverStream::new(requests)).await.unwrap().into_inner();
        let from = acknowledged;
        let sender = tokio::spawn(async move {
            // What was not acknowledged before the kill is sent again: some of it is there.
            for number in 0.. {
                let first = from + number * 20 + 1;
                let batch = batch(5, first, first + 19).into();
                let request =
                    PublishRequest { batch, request_id: first + 19, ..Default::default() };
                if send.send(request).await.is_err() {
                    return;
                }
            }
        });
        let mut left = 100 + round * 37;
        let mut process = Some(process);
        loop {
            match answers.message().await {
                Ok(Some(answer)) => acknowledged = answer.request_id,
                _ => break,
            }
            left -= 1;
            if left == 0 {
                process.take().unwrap().kill();
            }
            if left < -10_000 {
                panic!("the bus outlived its kill");
            }
        }
        sender.abort();
    }
    let process = Process::start(dir.path(), &[]);
    let mut client = process.client().await;
    let mut subscriber = Subscriber::new(&mut client, durable("checker")).await.unwrap();
    let mut found = subscriber.sequences(acknowledged as usize).await;
    found.truncate(acknowledged as usize);
    assert_eq!(found, (1..=acknowledged).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_full_disk_is_told_and_nothing_acknowledged_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path(), &["--max-bytes", "67108864"]);
    let mut client = process.client().await;
    publish(&mut client, batch(1, 1, 100)).await.unwrap();
    process.limit_files("100000");
    let mut acknowledged = 100;
    let error = loop {
        match publish(&mut client, batch(1, acknowledged + 1, acknowledged + 50)).await {
            Ok(_) => acknowledged += 50,
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), Code::ResourceExhausted, "{error:?}");
    assert!(error.message().contains("no room on the disk"), "{error:?}");
    let mut subscriber = Subscriber::new(&mut client, durable("reader")).await.unwrap();
    assert_eq!(
        subscriber.sequences(acknowledged as usize).await.len() as u64,
        acknowledged,
        "reading goes on"
    );
    process.limit_files("unlimited");
    while let Err(error) = publish(&mut client, batch(1, acknowledged + 1, acknowledged + 50)).await
    {
        assert_eq!(error.code(), Code::ResourceExhausted);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    acknowledged += 50;
    process.kill();
    let process = Process::start(dir.path(), &[]);
    let mut client = process.client().await;
    let mut subscriber = Subscriber::new(&mut client, durable("checker")).await.unwrap();
    assert_eq!(
        subscriber.sequences(acknowledged as usize).await,
        (1..=acknowledged).collect::<Vec<_>>()
    );
}

#[test]
fn a_store_that_cannot_be_opened_ends_the_start_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path(), &[]);
    let second = Command::new(env!("CARGO_BIN_EXE_jimbot-mcp"))
        .args(["bus", "--listen", "127.0.0.1:0", "--dir"])
        .arg(dir.path())
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    let message = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(message.contains("in use by another process"), "{message}");
    process.kill();
    // As a newer program would leave it: its version stands at byte 8 of a segment.
    let segment = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[8] = 9;
    std::fs::write(&segment, &bytes).unwrap();
    let done = Command::new(env!("CARGO_BIN_EXE_jimbot-mcp"))
        .args(["bus", "--listen", "127.0.0.1:0", "--dir"])
        .arg(dir.path())
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.code() == Some(1) && message.contains("version 9"), "{message}");
    assert_eq!(std::fs::read(&segment).unwrap(), bytes, "nothing is touched");
}

#[test]
fn a_cluster_that_is_not_there_ends_the_start_with_its_address() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let done = Command::new(env!("CARGO_BIN_EXE_jimbot-mcp"))
        .args(["bus", "--listen", "127.0.0.1:0", "--store", &format!("nats://{nobody}")])
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.code() == Some(1) && message.contains(&nobody.to_string()), "{message}");
}

#[tokio::test]
async fn a_thousand_subscribers_that_read_nothing_take_no_more_memory_than_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path(), &[]);
    let mut publisher = process.client().await;
    // 30 MB: with a delivery of 256 KiB in each of the places where one could wait, a thousand would hold more than 1 GB.
    let filler = vec![b'x'; 10_000];
    let mut last = 0;
    for _ in 0..30 {
        let events = (last + 1..=last + 100).map(|number| {
            let mut event = event(1, number);
            event.correlation_id = Some(String::from_utf8(filler.clone()).unwrap());
            event
        });
        let batch = EventBatch { events: events.collect() }.encode_to_vec();
        publish(&mut publisher, batch).await.unwrap();
        last += 100;
    }
    let mut stalled = Vec::new();
    for _ in 0..50 {
        let endpoint = tonic::transport::Endpoint::from_shared(process.url.clone())
            .unwrap()
            .initial_stream_window_size(64 << 10);
        let mut client = BusClient::new(endpoint.connect().await.unwrap());
        for _ in 0..20 {
            stalled.push(Subscriber::new(&mut client, from_earliest()).await.unwrap());
        }
    }
    // One that reads gets everything, whatever the others hold.
    let mut client = process.client().await;
    let mut reader = Subscriber::new(&mut client, durable("reader")).await.unwrap();
    assert_eq!(reader.sequences(last as usize).await, (1..=last).collect::<Vec<_>>());
    let resident = process.resident();
    assert!(resident < 200 << 20, "{} MB", resident >> 20);
    // And one of those that waited, when it reads on.
    let mut late = stalled.swap_remove(500);
    let mut found = Vec::new();
    while found.len() < last as usize {
        let delivery = late.delivery().await;
        found.extend(delivery.positions);
    }
    assert_eq!(found, (1..=last).collect::<Vec<_>>());
}
