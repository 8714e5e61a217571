//! The WebSocket half of a connection.

use super::{Connection, Counted, Incoming, Phase, Shared};
use crate::http::{decimal_length, write_decimal};
use crate::limits;
use crate::ws::{self, Lying, Machine, Step, Wires};

/// An acknowledgement: `{"ack":<count>,"seq":<sequence>}`.
const ACK_PARTS: [&[u8]; 3] = [b"{\"ack\":", b",\"seq\":", b"}"];

impl Connection {
    /// Takes the upgrade in hand: answers 101; from now on this is a WebSocket. Bytes that came behind the request are
    /// its first frames. With `?ack=1` the client asks for acknowledgements.
    ///
    /// # Panics
    /// When no upgrade is in hand.
    pub fn upgrade(&mut self, shared: &mut Shared, now_ns: u64) {
        assert!(matches!(self.phase, Phase::Upgrade), "an upgrade is in hand");
        let acks = self.request().query_value("ack") == Some("1");
        let head = &self.receive.bytes()[..self.head.length];
        self.output.write(&mut shared.pool, now_ns, |out, _| ws::accept(&self.head, head, out));
        self.receive.consume(self.head.length);
        shared.tally.add(Counted::Upgrades);
        self.phase = Phase::WebSocket(Box::new(Machine::new(&shared.config.ws, acks, now_ns)));
        self.phase_ns = now_ns;
    }

    /// The next message, if a whole one has come.
    pub(super) fn next_message(&mut self, shared: &mut Shared, now_ns: u64) -> Option<Incoming> {
        let Phase::WebSocket(machine) = &mut self.phase else {
            unreachable!("called for a WebSocket")
        };
        if self.message_in_hand {
            return None;
        }
        let (peer_closed, high) = (self.peer_closed, self.output_high);
        let config = &shared.config.ws;
        let step = loop {
            let (room, blocked) = (self.receive.owned(), self.output.len() >= high);
            let input = self.receive.bytes_mut();
            match machine.take_lying(input, room, blocked, peer_closed, config, now_ns) {
                Lying::Message { binary, header } => {
                    self.receive.consume(header);
                    break Step::Message { binary };
                }
                Lying::More => break Step::More,
                Lying::Invalid => {
                    break self.output.write(&mut shared.pool, now_ns, |output, _| {
                        machine.invalid(output, config)
                    });
                }
                Lying::Other => {}
            }
            let input = self.receive.bytes();
            let (step, used) = self.output.write(&mut shared.pool, now_ns, |output, sent| {
                let wires = Wires { input, output, output_high: sent + high, peer_closed };
                machine.next(wires, config, now_ns)
            });
            self.receive.consume(used);
            if step != Step::Again {
                break step;
            }
        };
        match step {
            Step::Message { binary } => {
                shared.tally.add(Counted::Messages);
                self.message_in_hand = true;
                return Some(Incoming::Message { binary });
            }
            Step::More if self.draining && !machine.is_closing() => {
                self.output.write(&mut shared.pool, now_ns, |out, _| {
                    machine.close(
                        ws::CloseCode::GoingAway,
                        "the service shuts down",
                        out,
                        config,
                        now_ns,
                    );
                });
            }
            Step::More | Step::Again | Step::Blocked => {}
            Step::Ended => self.end(Phase::Finish, now_ns),
            Step::Failed(code) => {
                shared.tally.add(Counted::closed(code));
                self.end(Phase::Linger, now_ns);
            }
        }
        None
    }

    /// The message in hand is finished with.
    ///
    /// # Panics
    /// When none is in hand.
    pub fn done(&mut self, now_ns: u64) {
        assert!(self.message_in_hand, "a message is in hand");
        self.message_in_hand = false;
        if let Phase::WebSocket(machine) = &mut self.phase {
            self.receive.consume(machine.done(now_ns));
        }
    }

    /// Whether this is a WebSocket whose client asked for acknowledgements.
    pub fn acks_wanted(&self) -> bool {
        matches!(&self.phase, Phase::WebSocket(machine) if machine.acks())
    }

    /// Acknowledges: `count` events of the message are stored, the last one as `sequence`. Does nothing where nobody
    /// asked for it.
    pub fn ack(&mut self, shared: &mut Shared, count: u64, sequence: u64, now_ns: u64) {
        let Phase::WebSocket(machine) = &self.phase else { return };
        if !machine.acks() || !machine.can_send() {
            return;
        }
        self.output.write(&mut shared.pool, now_ns, |out, _| {
            let length = ACK_PARTS.iter().map(|part| part.len()).sum::<usize>()
                + decimal_length(count)
                + decimal_length(sequence);
            machine.begin_text(length, out);
            out.extend_from_slice(ACK_PARTS[0]);
            write_decimal(out, count);
            out.extend_from_slice(ACK_PARTS[1]);
            write_decimal(out, sequence);
            out.extend_from_slice(ACK_PARTS[2]);
        });
    }

    /// Sends a text message. False when this is no WebSocket any more, or when too much waits unsent already.
    pub fn send_text(&mut self, shared: &mut Shared, text: &str, now_ns: u64) -> bool {
        let Phase::WebSocket(machine) = &self.phase else { return false };
        let fits = self.output.len() + text.len() <= limits::OUTPUT_BYTES_MAX;
        let sent = fits && machine.can_send();
        if sent {
            self.output.write(&mut shared.pool, now_ns, |out, _| {
                machine.begin_text(text.len(), out);
                out.extend_from_slice(text.as_bytes());
            });
        }
        sent
    }

    /// Brings the codec's share of the budget to what it holds, in steps of a read buffer. False when the budget does
    /// not allow it.
    pub(super) fn claim_codec(&mut self, pool: &mut super::BufferPool) -> Result<(), usize> {
        let held = match &self.phase {
            Phase::WebSocket(machine) => machine.held_bytes(),
            _ => 0,
        };
        let share = held / limits::READ_BYTES * limits::READ_BYTES;
        if share < self.claimed {
            pool.unclaim(self.claimed - share);
        } else if share > self.claimed && !pool.claim(share - self.claimed) {
            return Err(share - self.claimed);
        }
        self.claimed = share;
        Ok(())
    }
}
