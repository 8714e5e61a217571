//! Events that stand for what nobody could read, or for what was too long to keep.

use std::ops::Range;

use super::event::{TYPE_TRUNCATED, TYPE_UNREADABLE};
use super::identity::Mode;
use super::machine::Machine;
use super::paths::shortened;
use super::stop::Outcome;
use super::tables::kind_of;
use super::{BodySummary, Context, Converted, Converter, Step};
use crate::limits::SALVAGE_KEEP_BYTES;
use crate::log::flags;

const TAG_TYPE: (u32, u8) = (0x18, 1);
/// `Event.unreadable`.
const TAG_UNREADABLE: (u32, u8) = (0x04_DA, 2);
const TAG_RAW: (u32, u8) = (0x0A, 1);
const TAG_ERROR: (u32, u8) = (0x12, 1);
const TAG_LENGTH: (u32, u8) = (0x18, 1);
const TAG_OFFSET: (u32, u8) = (0x20, 1);
const TAG_PATH: (u32, u8) = (0x2A, 1);
const TAG_CONTENT_TYPE: (u32, u8) = (0x32, 1);
const TAG_USER_AGENT: (u32, u8) = (0x3A, 1);
const TAG_EVENTS_KEPT: (u32, u8) = (0x40, 1);
/// Words of the request that such an event carries are cut at this.
const WORDS_MAX: usize = 256;
/// What such an event takes beside its raw bytes, at most.
const OVERHEAD: usize = 2048;

/// What could not be kept as an event of its own type.
#[derive(Clone, Debug)]
pub(super) struct Unreadable {
    /// The part of the body that is stored.
    pub(super) raw: Range<usize>,
    /// Bytes that it stands for.
    pub(super) length: u64,
    pub(super) error: String,
    /// It stands for something that was too long, not for something broken.
    pub(super) is_truncated: bool,
    /// Events of the body kept before it.
    pub(super) events_kept: u32,
}

impl Unreadable {
    /// A part of a body that is broken, as much of it as one event may hold.
    pub(super) fn broken(raw: Range<usize>, error: String, events_kept: u32) -> Self {
        let length = raw.len() as u64;
        Self { raw, length, error, is_truncated: false, events_kept }
    }

    /// Something too long: only its start is stored.
    pub(super) fn truncated(
        raw: Range<usize>,
        length: u64,
        error: String,
        events_kept: u32,
    ) -> Self {
        let end = raw.end.min(raw.start + SALVAGE_KEEP_BYTES);
        Self { raw: raw.start..end, length, error, is_truncated: true, events_kept }
    }
}

/// Why nothing behind the limit of a body is kept, which was `length` bytes long.
pub(super) fn longer_than_accepted(length: u64) -> String {
    format!("the body has {length} bytes, more than are accepted")
}

/// Why an event is not kept that fits no batch.
pub(super) fn too_large(context: &Context<'_>) -> String {
    format!("the event takes more than {} bytes", context.event_bytes_max)
}

impl Converter {
    /// Writes the next part of what could not be kept: as much as one event may hold.
    pub(super) fn next_piece(
        &mut self,
        pending: &mut Option<Unreadable>,
        summary: &mut BodySummary,
        body: &[u8],
        context: &Context<'_>,
        room: &mut [u8],
    ) -> Step {
        let Some(mut what) = pending.take() else { return Step::NoRoom };
        let piece_max = context.event_bytes_max.saturating_sub(OVERHEAD).max(1);
        let rest = if what.raw.len() > piece_max {
            let rest = what.raw.start + piece_max..what.raw.end;
            what.raw.end = what.raw.start + piece_max;
            Some(rest)
        } else {
            None
        };
        match self.put_unreadable(body, &what, context, room) {
            Ok(event) => {
                summary.events += 1;
                summary.unreadable += 1;
                *pending = rest.map(|raw| Unreadable { raw, ..what });
                Step::Event(event)
            }
            Err(_) => {
                if let Some(rest) = rest {
                    what.raw.end = rest.end;
                }
                *pending = Some(what);
                Step::NoRoom
            }
        }
    }

    /// Writes such an event.
    #[cold]
    fn put_unreadable(
        &mut self,
        body: &[u8],
        what: &Unreadable,
        context: &Context<'_>,
        out: &mut [u8],
    ) -> Outcome<Converted> {
        let mut machine = self.machine(body, 0, out, context.nesting_max, Mode::default());
        let element = machine.open_element(context)?;
        let number = if what.is_truncated { TYPE_TRUNCATED } else { TYPE_UNREADABLE };
        machine.put_varint(TAG_TYPE, u64::from(number))?;
        let open = machine.open(TAG_UNREADABLE, 3)?;
        machine.put_varint(TAG_RAW, what.raw.len() as u64)?;
        machine.put_input(what.raw.clone())?;
        machine.put_words(TAG_ERROR, &what.error)?;
        machine.put_varint(TAG_LENGTH, what.length)?;
        machine.put_varint(TAG_OFFSET, what.raw.start as u64)?;
        machine.put_words(TAG_PATH, &String::from_utf8_lossy(context.path))?;
        machine.put_words(TAG_CONTENT_TYPE, &String::from_utf8_lossy(context.content_type))?;
        machine.put_words(TAG_USER_AGENT, &String::from_utf8_lossy(context.user_agent))?;
        machine.put_varint(TAG_EVENTS_KEPT, u64::from(what.events_kept))?;
        machine.close(open)?;
        machine.facts.kind = kind_of(number) as u16;
        machine.facts.priority = 2;
        machine.close_element(&element, context, flags::UNREADABLE)
    }
}

impl Machine<'_> {
    fn put_words(&mut self, tag: (u32, u8), words: &str) -> Outcome<()> {
        if words.is_empty() {
            return Ok(());
        }
        self.put_bytes(tag, shortened(words, WORDS_MAX).as_bytes())
    }
}
