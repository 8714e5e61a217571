//! What the service knows of an event before it reads it, at fixed places in front of the rest.

use super::encode::Open;
use super::machine::{Envelope, Facts, Machine};
use super::scan::Place;
use super::stop::Outcome;
use super::tables::KINDS;
use super::{Context, Converted, Converter};
use crate::log::{IndexEntry, flags};

const TAG_ELEMENT: (u32, u8) = (0x0A, 1);
const TAG_EPOCH: (u32, u8) = (0x09, 1);
const TAG_SEQUENCE: (u32, u8) = (0x10, 1);
const TAG_RECEIVED: (u32, u8) = (0x39, 1);
const TAG_SESSION: (u32, u8) = (0x41, 1);
const TAG_GAME_KEY: (u32, u8) = (0x49, 1);

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
            ahead: Vec::new(),
        }
    }
}

impl Machine<'_> {
    /// Starts an element: tag, room for its length, and the event's identity.
    #[inline(always)]
    pub(super) fn open_element(&mut self, context: &Context<'_>) -> Outcome<Element> {
        let reserved = usize::from(self.memory.element);
        let open = self.open(TAG_ELEMENT, reserved)?;
        self.put_fixed(TAG_EPOCH, context.log_epoch)?;
        self.put_varint(TAG_SEQUENCE, context.sequence)?;
        self.put_fixed(TAG_RECEIVED, context.receive_time_unix_ns)?;
        self.put_fixed(TAG_SESSION, context.session)?;
        let session = self.pos - 8 - open.body();
        self.put_fixed(TAG_GAME_KEY, context.game_key)?;
        let game_key = self.pos - 8 - open.body();
        Ok(Element { open, session, game_key })
    }

    /// Ends the element and tells what it holds.
    #[inline(always)]
    pub(super) fn close_element(
        &mut self,
        element: Element,
        context: &Context<'_>,
        extra_flags: u16,
    ) -> Outcome<Converted> {
        let event_len = self.pos - element.open.body();
        let took = self.close(element.open)?;
        self.memory.element = took as u8;
        let event_offset = self.pos - event_len;
        let facts = &self.facts;
        let kind = &KINDS[facts.kind];
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
        let game_id = if facts.game_id.is_empty() { &facts.own_game_id } else { &facts.game_id };
        Ok(Converted {
            element_len: self.pos,
            event_offset,
            entry: IndexEntry {
                sequence: context.sequence,
                offset: 0,
                length: event_len as u32,
                event_type: kind.number,
                flags: bits,
                priority: facts.priority,
                dialect: facts.dialect,
                reserved: 0,
                game_key: context.game_key,
                session: context.session,
                id_hash: 0,
                producer_time: facts.time.unwrap_or(f64::NAN),
                receive_time_unix_ns: context.receive_time_unix_ns,
            },
            event_id: facts.event_id.clone(),
            game_id: game_id.clone(),
            producer: facts.producer.clone(),
            producer_sequence: facts.producer_sequence,
            producer_clock: facts.clock,
            is_connection_test: kind.number == super::event::TYPE_CONNECTION_TEST,
            findings: self.findings.len() as u32,
            notes: self.noted,
            session_at: event_offset + element.session,
            game_key_at: event_offset + element.game_key,
        })
    }
}
