//! The path of a place in an event's text, such as `payload.jokers[0].name`.
//!
//! Nobody keeps paths while converting: they are worked out for the few events that need one.

use super::scan::after_space;

/// The start of a text, at most so many bytes.
pub(super) fn shortened(text: &str, bytes_max: usize) -> &str {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Walks a text once and tells the path at each place asked for, in rising order.
pub(super) struct Paths<'a> {
    text: &'a [u8],
    at: usize,
    path: String,
    /// For each level around `at`: length of the path at its start, and its next index if a list.
    levels: Vec<(usize, Option<usize>)>,
    /// What `at` stands before: a key (or end) of an object, otherwise a value.
    expects_key: bool,
    salvage: bool,
}

/// No path is longer, whatever the keys are.
pub(super) const PATH_MAX: usize = 512;

impl<'a> Paths<'a> {
    pub(super) fn new(text: &'a [u8], salvage: bool) -> Self {
        Self { text, at: 0, path: String::new(), levels: Vec::new(), expects_key: false, salvage }
    }

    /// The path of the value at or around `place`.
    pub(super) fn path_to(&mut self, place: usize) -> &str {
        while self.at < place && self.at < self.text.len() && self.step(place) {}
        shortened(&self.path, PATH_MAX)
    }

    /// Goes on by one token; false when the place is reached.
    fn step(&mut self, place: usize) -> bool {
        self.at = after_space(self.text, self.at);
        let Some(byte) = self.text.get(self.at).copied() else { return false };
        match byte {
            b'{' | b'[' => {
                let is_list = byte == b'[';
                self.levels.push((self.path.len(), is_list.then_some(0)));
                self.at += 1;
                self.expects_key = !is_list;
                if is_list {
                    self.name_element();
                }
            }
            b'}' | b']' => {
                self.at += 1;
                self.levels.pop();
                self.leave_value();
            }
            b',' => {
                self.at += 1;
                if let Some((len, index)) = self.levels.last_mut() {
                    self.path.truncate(*len);
                    match index {
                        Some(index) => {
                            *index += 1;
                            self.name_element();
                        }
                        None => self.expects_key = true,
                    }
                }
            }
            b':' => {
                self.at += 1;
                self.expects_key = false;
            }
            b'"' => {
                let start = self.at + 1;
                let end = self.string_end(start);
                if self.expects_key {
                    self.name_member(start, end);
                    self.at = (end + 1).min(self.text.len());
                    self.expects_key = false;
                } else if place <= end {
                    return false;
                } else {
                    self.at = (end + 1).min(self.text.len());
                }
            }
            _ => {
                let start = self.at;
                while self.text.get(self.at).is_some_and(|byte| !b",:{}[]\" \n\r\t".contains(byte))
                {
                    self.at += 1;
                }
                if self.at == start {
                    self.at += 1;
                }
                return self.at <= place;
            }
        }
        true
    }

    fn leave_value(&mut self) {
        self.expects_key = false;
    }

    fn name_member(&mut self, start: usize, end: usize) {
        if let Some((len, _)) = self.levels.last() {
            self.path.truncate(*len);
        }
        if self.path.len() > PATH_MAX {
            return;
        }
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(&String::from_utf8_lossy(&self.text[start..end.min(start + PATH_MAX)]));
    }

    fn name_element(&mut self) {
        if let Some((len, Some(index))) = self.levels.last() {
            self.path.truncate(*len);
            let index = *index;
            self.path.push_str(&format!("[{index}]"));
        }
    }

    fn string_end(&self, mut at: usize) -> usize {
        while let Some(byte) = self.text.get(at) {
            match byte {
                b'\\' => at += 2,
                b'"' if !self.salvage || self.plausible_end(at) => return at,
                _ => at += 1,
            }
        }
        self.text.len()
    }

    fn plausible_end(&self, quote: usize) -> bool {
        let next = after_space(self.text, quote + 1);
        self.text.get(next).is_none_or(|byte| b",:]}".contains(byte))
    }
}
