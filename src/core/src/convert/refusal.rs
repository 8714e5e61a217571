//! What the sender of a whole event is told when a rule refuses it.

use super::machine::Machine;
use super::paths::Paths;
use super::strings::Key;
use super::tables::{EVENT, FIELDS, Kind, REQUIRED, TABLES};

/// The severity of a rule that refuses.
pub(super) const SEVERITY_REJECT: u8 = 3;

impl Machine<'_> {
    /// Field and reason of the first broken rule that refuses the event, which stands from `start` to the position.
    #[cold]
    pub(super) fn refusal(&mut self, start: usize) -> (String, String) {
        let broken = self.findings.iter().find(|finding| finding.severity == SEVERITY_REJECT);
        let Some(broken) = broken.copied() else { return (String::new(), String::new()) };
        if let Some(field) = broken.reason.strip_suffix(" is missing") {
            let required = REQUIRED.iter().find(|required| required.reason == broken.reason);
            let misfit = required.and_then(|required| self.misfit(start, required.bit));
            return misfit.unwrap_or_else(|| (field.to_owned(), "missing".to_owned()));
        }
        let text = &self.input[start..self.at];
        let field = Paths::new(text, self.salvage).path_to(broken.at - start).to_owned();
        (field, broken.reason.to_owned())
    }

    /// A key of the event whose value is not what the required field with this bit takes, and what it takes. `null`
    /// says what a key that is missing says.
    fn misfit(&mut self, start: usize, bit: u8) -> Option<(String, String)> {
        let (input, end) = (self.input, self.at);
        self.at = start + 1;
        self.space();
        while self.at < end && self.byte() == b'"' {
            let Ok(Key::Plain(key) | Key::Decoded(key)) = self.read_key() else { break };
            let name = &input[key];
            let slot = TABLES[EVENT].find(name).filter(|slot| FIELDS[*slot].mask >> bit & 1 == 1);
            if let Some(slot) = slot
                && self.byte() != b'n'
            {
                let reason = match FIELDS[slot].kind {
                    Kind::Timestamp => "neither a number nor an ISO 8601 time",
                    _ => "not a string",
                };
                return Some((String::from_utf8_lossy(name).into_owned(), reason.to_owned()));
            }
            if self.skip_value().is_err() || !matches!(self.after_member(), Ok(false)) {
                break;
            }
        }
        None
    }
}
