//! A reader that does nothing but read: what the log costs its writer beside it is the reader's being there.
//!
//! `read_all DIRECTORY`: joins the log at its end, says `reading`, and copies the index of whatever comes until its
//! standard input ends. `perf/growth` starts as many as it is asked for, each a process of its own.

use std::{io::Read, path::Path, time::Duration};

use jimbot_shm::{LogReader, ReaderOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some(directory) = std::env::args().nth(1) else {
        return Err("usage: read_all DIRECTORY".into());
    };
    let mut reader = LogReader::open(Path::new(&directory), &ReaderOptions::default())?;
    println!("reading");
    std::thread::spawn(|| {
        let mut rest = Vec::new();
        // However it ends, nobody is there any more.
        let _ = std::io::stdin().read_to_end(&mut rest);
        std::process::exit(0);
    });
    let mut index = Vec::new();
    loop {
        if let Some(frame) = reader.next(Duration::MAX)? {
            // A frame that was overwritten meanwhile was read all the same.
            let _ = frame.copy_index_into(&mut index);
        }
    }
}
