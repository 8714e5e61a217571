//! What the sender of a whole event is told when a rule refuses it.

use super::machine::Machine;
use super::paths::Paths;

/// The severity of a rule that refuses.
pub(super) const SEVERITY_REJECT: u8 = 3;

impl Machine<'_> {
    /// Field and reason of the first broken rule that refuses the event, which stands from `start` to the position.
    #[cold]
    pub(super) fn refusal(&self, start: usize) -> (String, String) {
        let broken = self.findings.iter().find(|finding| finding.severity == SEVERITY_REJECT);
        let Some(broken) = broken.copied() else { return (String::new(), String::new()) };
        if let Some(field) = broken.reason.strip_suffix(" is missing") {
            return (field.to_owned(), "missing".to_owned());
        }
        let text = &self.input[start..self.at];
        let field = Paths::new(text, self.salvage).path_to(broken.at - start).to_owned();
        (field, broken.reason.to_owned())
    }
}
