//! What the service knows of an event before it reads it, at fixed places in front of the rest.

use super::encode::Open;
use super::machine::{Envelope, Facts, Machine};
use super::scan::Place;
use super::stop::{Outcome, Stop};
use super::tables::KINDS;
use super::{Context, Converted, Converter};
use crate::log::{IndexEntry, flags};

const TAG_ELEMENT: u8 = 0x0A;
const TAG_EPOCH: u8 = 0x09;
const TAG_SEQUENCE: u8 = 0x10;
const TAG_RECEIVED: u8 = 0x39;
const TAG_SESSION: u8 = 0x41;
const TAG_GAME_KEY: u8 = 0x49;

/// How an event is read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mode {
    pub(super) careful: bool,
    pub(super) salvage: bool,
}

/// An element whose event is being written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element {
    open: Open,
    /// Places of session and game key, from the event's start.
    session: usize,
    game_key: usize,
}

impl Converter {
    /// A machine at this place of the input, with nothing written.
    #[inline(always)]
    pub(super) fn machine<'a>(
        &'a mut self,
        input: &'a [u8],
        at: usize,
        out: &'a mut [u8],
        nesting_max: u32,
        mode: Mode,
    ) -> Machine<'a> {
        self.raw.clear();
        self.findings.clear();
        self.memory.keys.clear();
        self.memory.ending.set(input);
        if !self.memory.ahead.is_empty() {
            self.memory.ahead.clear();
        }
        Machine {
            input,
            at,
            out,
            pos: 0,
            memory: &mut self.memory,
            depth: 0,
            // One bit a level tells object from list.
            depth_max: nesting_max.min(100),
            nested: 0,
            objects: 0,
            inexact: false,
            fitted: 0,
            careful: mode.careful,
            salvage: mode.salvage,
            place: Place::Member,
            envelope: Envelope::default(),
            facts: Facts::default(),
            raw: &mut self.raw,
            findings: &mut self.findings,
            noted: 0,
        }
    }
}

impl Machine<'_> {
    /// Starts an element: tag, room for its length, and the event's identity.
    #[inline(always)]
    pub(super) fn open_element(&mut self, context: &Context<'_>) -> Outcome<Element> {
        // What is known in front is as long as this at most, so its room is looked at once.
        const ROOM: usize = 64;
        let reserved = self.memory.element.min(5);
        let Some(room) =
            self.out.get_mut(self.pos..).and_then(|rest| rest.first_chunk_mut::<ROOM>())
        else {
            return Err(Stop::NoRoom);
        };
        room[0] = TAG_ELEMENT;
        let open = Open::at(self.pos + 1, reserved);
        let epoch = 1 + reserved;
        put_fixed(&mut room[epoch..epoch + 9], TAG_EPOCH, context.log_epoch);
        let mut at = epoch + 9;
        room[at] = TAG_SEQUENCE;
        at += 1;
        let mut sequence = context.sequence;
        while sequence >= 0x80 {
            room[at % ROOM] = sequence as u8 | 0x80;
            sequence >>= 7;
            at += 1;
        }
        room[at % ROOM] = sequence as u8;
        at += 1;
        if let Some(rest) = room.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<27>()) {
            put_fixed(&mut rest[..9], TAG_RECEIVED, context.receive_time_unix_ns);
            put_fixed(&mut rest[9..18], TAG_SESSION, context.session);
            put_fixed(&mut rest[18..], TAG_GAME_KEY, context.game_key);
        }
        at += 27;
        self.pos += at;
        let event = 1 + reserved;
        Ok(Element { open, session: at - event - 17, game_key: at - event - 8 })
    }

    /// Ends the element and tells what it holds.
    #[inline(always)]
    pub(super) fn close_element(
        &mut self,
        element: &Element,
        context: &Context<'_>,
        extra_flags: u16,
    ) -> Outcome<Converted> {
        let event_offset = self.close_open_element(element)?;
        Ok(self.converted(element, event_offset, context, extra_flags))
    }

    /// Ends the element; tells where its event starts.
    #[inline(always)]
    pub(super) fn close_open_element(&mut self, element: &Element) -> Outcome<usize> {
        let event_len = self.pos - element.open.body();
        self.memory.element = self.close(element.open)?;
        Ok(self.pos - event_len)
    }

    /// What the element holds.
    #[inline(always)]
    pub(super) fn converted(
        &self,
        element: &Element,
        event_offset: usize,
        context: &Context<'_>,
        extra_flags: u16,
    ) -> Converted {
        let facts = &self.facts;
        let kind = &KINDS[usize::from(facts.kind)];
        let mut bits = extra_flags;
        if facts.is_unknown {
            bits |= flags::UNKNOWN_TYPE;
        }
        if !self.raw.is_empty() {
            bits |= flags::RAW_TEXT;
        }
        if !self.findings.is_empty() {
            bits |= flags::FLAGGED;
        }
        if self.salvage {
            bits |= flags::SALVAGED;
        }
        let game_id = if facts.game_id.is_empty() { facts.own_game_id } else { facts.game_id };
        Converted {
            element_len: self.pos,
            event_offset,
            entry: IndexEntry {
                sequence: context.sequence,
                offset: 0,
                length: (self.pos - event_offset) as u32,
                event_type: kind.number,
                flags: bits,
                priority: facts.priority,
                dialect: facts.dialect,
                reserved: 0,
                game_key: context.game_key,
                session: context.session,
                id_hash: 0,
                producer_time: if facts.has_time { facts.time } else { f64::NAN },
                receive_time_unix_ns: context.receive_time_unix_ns,
            },
            event_id: facts.event_id.range(),
            game_id: game_id.range(),
            producer: facts.producer.range(),
            producer_sequence: facts.has_producer_sequence.then_some(facts.producer_sequence),
            producer_clock: facts.clock,
            is_connection_test: kind.number == super::event::TYPE_CONNECTION_TEST,
            findings: self.findings.len() as u32,
            notes: self.noted,
            session_at: event_offset + element.session,
            game_key_at: event_offset + element.game_key,
        }
    }
}

/// A one-byte tag and eight bytes, in a place of nine.
#[inline(always)]
fn put_fixed(place: &mut [u8], tag: u8, value: u64) {
    place[0] = tag;
    place[1..9].copy_from_slice(&value.to_le_bytes());
}
