//! The HTTP half of a connection: from bytes to a request in hand, and from its answer to the next request.

use super::{Connection, Counted, Phase, Shared};
use crate::http::{
    BodyReader, BodyStep, Fault, Framing, Head, Method, PastLimit, Persistence, Refusal, Request,
    Response, Scanned, Status, write_continue,
};
use crate::{limits, ws};

const TOO_MANY_EMPTY_LINES: Fault = Fault::fatal(
    Status::BAD_REQUEST,
    "request line",
    "empty lines stand where a request begins",
    "begin with the request line",
);

impl Connection {
    /// Looks for a head. Says whether the phase changed, so that there may be more to find.
    pub(super) fn next_head(&mut self, shared: &mut Shared, now_ns: u64) -> bool {
        if self.output.len() >= self.output_high {
            return false;
        }
        let Phase::Head { scan, empty_lines } = &mut self.phase else {
            unreachable!("called in the head phase")
        };
        while scan.is_new() && self.receive.bytes().starts_with(b"\r\n") {
            *empty_lines += 1;
            if *empty_lines > limits::EMPTY_LINES_MAX {
                self.answer_headless(shared, TOO_MANY_EMPTY_LINES, now_ns);
                return true;
            }
            self.receive.consume(2);
        }
        let bytes = self.receive.bytes();
        if bytes.is_empty() {
            if self.peer_closed || self.draining {
                self.end(Phase::Finish, now_ns);
                return true;
            }
            return false;
        }
        if bytes == b"\r" && !self.peer_closed {
            return false;
        }
        if scan.is_new() && self.take_known_head(shared, now_ns) {
            return true;
        }
        let Phase::Head { scan, .. } = &mut self.phase else {
            unreachable!("only a known head changes the phase")
        };
        match scan.advance(self.receive.bytes()) {
            Scanned::Partial if self.peer_closed => {
                shared.tally.add(Counted::ClosedTruncated);
                self.end(Phase::Finish, now_ns);
            }
            Scanned::Partial => return false,
            Scanned::Bad(fault) => self.answer_headless(shared, fault, now_ns),
            Scanned::Complete(length) => self.take_head(shared, length, now_ns),
        }
        true
    }

    /// Takes a head that was judged before, if one begins what was received.
    fn take_known_head(&mut self, shared: &mut Shared, now_ns: u64) -> bool {
        // Where a token is asked for, it is compared in constant time and nowhere else.
        if shared.access.asks_for_token(self.peer) {
            return false;
        }
        let bytes = self.receive.bytes();
        let Some(found) = shared.known_heads.recognise(self.known_hint, bytes) else {
            return false;
        };
        self.head = *found.head;
        self.head.framing = found.framing;
        self.lenient = found.lenient;
        self.known_hint = found.name.place;
        self.known = Some(found.name);
        let length = self.head.length;
        match self.head.framing {
            // The usual case: the whole body came with its head.
            Framing::Fixed(body)
                if body <= (self.receive.len() - length) as u64
                    && body <= shared.config.max_body_bytes as u64 =>
            {
                shared.tally.add(Counted::Requests);
                let after = length + body as usize;
                self.phase = Phase::InHand { body: body as usize, total: body, after };
            }
            _ => self.begin_body(shared, now_ns),
        }
        true
    }

    /// Decides what becomes of the request whose head is the first `length` bytes.
    fn take_head(&mut self, shared: &mut Shared, length: usize, now_ns: u64) {
        let bytes = &self.receive.bytes()[..length];
        let (head, mild) = match Head::parse(bytes) {
            Ok(parsed) => parsed,
            Err(fault) => return self.answer_headless(shared, fault, now_ns),
        };
        let request = Request::new(&head, bytes, false);
        let verdict = shared.access.check(&request, self.peer).map_err(Fault::mild);
        let lenient = head.prefers_lenient || shared.config.is_lenient(request.user_agent());
        let verdict = match (verdict, mild) {
            (Err(fault), _) | (Ok(()), Some(fault)) => Err(fault),
            (Ok(()), None) if head.upgrade => ws::validate(&head, bytes),
            (Ok(()), None) => Ok(()),
        };
        self.known = None;
        if verdict.is_ok() && !head.upgrade && !shared.access.asks_for_token(self.peer) {
            self.known = shared.known_heads.remember(bytes, &head, lenient);
        }
        self.head = head;
        self.lenient = lenient;
        if let Err(fault) = verdict {
            self.answer_fault(shared, fault, now_ns);
            return;
        }
        if head.upgrade {
            self.phase = Phase::Upgrade;
            self.phase_ns = now_ns;
            return;
        }
        self.begin_body(shared, now_ns);
    }

    /// Goes on behind a head that was accepted.
    fn begin_body(&mut self, shared: &mut Shared, now_ns: u64) {
        let length = self.head.length;
        let past_limit = if self.lenient { PastLimit::Drop } else { PastLimit::Refuse };
        match BodyReader::new(self.head.framing, shared.config.max_body_bytes, past_limit) {
            Err(error) => self.answer_fault(shared, error.0, now_ns),
            Ok(_) if self.head.framing == Framing::None => {
                shared.tally.add(Counted::Requests);
                self.phase = Phase::InHand { body: 0, total: 0, after: length };
            }
            Ok(reader) => {
                if self.head.expects_continue && self.receive.len() == length {
                    shared.tally.add(Counted::Continues);
                    self.output.write(&mut shared.pool, now_ns, |out, _| write_continue(out));
                }
                self.phase = Phase::Body { reader, cursor: length };
                self.phase_ns = now_ns;
                self.starved_before_ns = 0;
            }
        }
    }

    /// Goes on with a body. Says whether the phase changed.
    pub(super) fn next_body(&mut self, shared: &mut Shared, now_ns: u64) -> bool {
        let Phase::Body { reader, cursor } = &mut self.phase else {
            unreachable!("called in the body phase")
        };
        let end = self.receive.len();
        match reader.step(self.receive.bytes_mut(), self.head.length, cursor, end) {
            Ok(BodyStep::Done) => {
                let (body, total, after) = (reader.kept(), reader.total(), *cursor);
                shared.tally.add(Counted::Requests);
                if total > body as u64 {
                    shared.tally.add(Counted::BodiesCut);
                }
                self.phase = Phase::InHand { body, total, after };
            }
            Ok(BodyStep::More) if self.peer_closed => {
                shared.tally.add(Counted::ClosedTruncated);
                self.end(Phase::Finish, now_ns);
            }
            Ok(BodyStep::More) => return false,
            Err(error) => self.answer_fault(shared, error.0, now_ns),
        }
        true
    }

    /// What the answer to the request in hand looks like: what it says about the connection, and whether its body is
    /// left out.
    pub(super) fn answer_form(&self, close: bool) -> (Persistence, bool) {
        let after = match &self.phase {
            Phase::InHand { after, .. } => *after,
            Phase::Upgrade => self.head.length,
            _ => panic!("an answer without a request in hand"),
        };
        let is_last = (self.draining || self.peer_closed) && self.receive.len() == after;
        (self.persistence(close || is_last), self.head.method == Method::Head)
    }

    const fn persistence(&self, close: bool) -> Persistence {
        if close || !self.head.keep_alive {
            Persistence::Close
        } else if self.head.version_minor == 0 {
            Persistence::KeepTold
        } else {
            Persistence::Keep
        }
    }

    /// The request in hand was answered.
    pub(super) fn after_answer(&mut self, persistence: Persistence, now_ns: u64) {
        let after = match &self.phase {
            Phase::InHand { after, .. } => *after,
            _ => self.head.length,
        };
        self.receive.consume(after);
        if persistence == Persistence::Close {
            // A client that asked for the end sends nothing more; any other may be in the middle of its next request,
            // and a reset would take the answer from it.
            let expected = !self.head.keep_alive || self.draining || self.peer_closed;
            let over = expected && self.receive.is_empty();
            self.end(if over { Phase::Finish } else { Phase::Linger }, now_ns);
        } else {
            self.phase = Phase::HEAD;
            self.phase_ns = now_ns;
        }
    }

    /// Answers a fault of a request whose head is not known.
    pub(super) fn answer_headless(&mut self, shared: &mut Shared, fault: Fault, now_ns: u64) {
        self.head = Head::EMPTY;
        self.answer_fault(shared, fault, now_ns);
    }

    /// Answers a fault. The connection goes on when the fault leaves the request's end known and there is no body: one
    /// that is still to come would have to be read first, only to be dropped.
    pub(super) fn answer_fault(&mut self, shared: &mut Shared, fault: Fault, now_ns: u64) {
        shared.tally.add(Counted::refused(fault.refusal.status));
        let goes_on = !fault.fatal && self.head.framing == Framing::None;
        let persistence = self.persistence(!goes_on);
        let without_body = self.head.method == Method::Head;
        let mut body = Vec::new();
        fault.refusal.write_body(&mut body);
        let Refusal { status, headers, .. } = fault.refusal;
        let response = Response { headers, ..Response::new(status, "application/json", &body) };
        self.output.write(&mut shared.pool, now_ns, |out, _| {
            response.write(out, persistence, without_body)
        });
        if persistence == Persistence::Close {
            self.end(Phase::Linger, now_ns);
        } else {
            self.receive.consume(self.head.length);
            self.phase = Phase::HEAD;
            self.phase_ns = now_ns;
        }
    }
}
