//! The mailbox: commands on their way to a game.
//!
//! Senders post a command; it waits for its session, which fetches it by polling or gets it through its WebSocket. The
//! mod in the field throws away what the first poll of a game start gets, so nothing is handed out before the second.
//! There is no acknowledgement from the game, so a command that is not fetched in time expires rather than being played
//! into another situation. Everything is bounded: commands in all, commands for one session, their age and their size.

mod command;

use std::collections::VecDeque;

use crate::limits;
use crate::time::Now;

pub use command::{COMMANDS, Command, Invalid, Parameter, parse};

/// A command that waits, with what the service gave it.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiting {
    /// Its number, from which its id is made.
    pub number: u64,
    /// The session it is for.
    pub session: u64,
    /// What is to be done.
    pub command: Command,
    /// When it was taken.
    pub taken: Now,
}

/// Why a command was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailboxFull {
    /// Whether it is this session's share that is used up, and not the whole mailbox.
    pub is_session: bool,
}

/// Commands in order of arrival. They all may grow equally old, so the first is always the first to expire.
#[derive(Debug)]
pub struct Mailbox {
    age_ns: u64,
    waiting: VecDeque<Waiting>,
    next_number: u64,
}

impl Mailbox {
    /// An empty mailbox whose commands expire after `age_ns`; numbers begin with `first_number`, so that they differ
    /// between runs of the service.
    #[must_use]
    pub fn new(age_ns: u64, first_number: u64) -> Mailbox {
        Mailbox { age_ns, waiting: VecDeque::new(), next_number: first_number }
    }

    /// Whether a command for this session would be taken.
    ///
    /// # Errors
    /// [`MailboxFull`]
    pub fn check_room(&self, session: u64) -> Result<(), MailboxFull> {
        let own = self.waiting.iter().filter(|waiting| waiting.session == session).count();
        if own >= limits::COMMANDS_PER_SESSION {
            return Err(MailboxFull { is_session: true });
        }
        if self.waiting.len() >= limits::COMMANDS_MAX {
            return Err(MailboxFull { is_session: false });
        }
        Ok(())
    }

    /// The number the next command gets.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.next_number
    }

    /// Takes a command for a session.
    ///
    /// # Errors
    /// [`MailboxFull`]
    pub fn push(
        &mut self,
        session: u64,
        command: Command,
        now: Now,
    ) -> Result<&Waiting, MailboxFull> {
        self.check_room(session)?;
        let number = self.next_number;
        self.next_number += 1;
        self.waiting.push_back(Waiting { number, session, command, taken: now });
        Ok(&self.waiting[self.waiting.len() - 1])
    }

    /// The command that is next to be handed to a session.
    #[must_use]
    pub fn first_for(&self, session: u64) -> Option<&Waiting> {
        self.waiting.iter().find(|waiting| waiting.session == session)
    }

    /// Takes out the command that [`Mailbox::first_for`] shows.
    pub fn take_first_for(&mut self, session: u64) -> Option<Waiting> {
        let at = self.waiting.iter().position(|waiting| waiting.session == session)?;
        self.waiting.remove(at)
    }

    /// The first command that has grown too old.
    #[must_use]
    pub fn first_expired(&self, now: Now) -> Option<&Waiting> {
        self.waiting
            .front()
            .filter(|waiting| now.mono_ns.saturating_sub(waiting.taken.mono_ns) >= self.age_ns)
    }

    /// Takes out the command that [`Mailbox::first_expired`] shows.
    pub fn take_first_expired(&mut self, now: Now) -> Option<Waiting> {
        self.first_expired(now)?;
        self.waiting.pop_front()
    }

    /// When the next command expires, on the monotonic clock.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        Some(self.waiting.front()?.taken.mono_ns.saturating_add(self.age_ns))
    }

    /// Commands that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SECOND;

    const NOW: Now = Now { mono_ns: 5 * SECOND, unix_ns: 0 };

    fn command(line: &str) -> Command {
        parse(format!("{{\"type\":\"{line}\"}}").as_bytes()).unwrap().0
    }

    #[test]
    fn a_session_gets_its_own_commands_in_order() {
        let mut mailbox = Mailbox::new(limits::COMMAND_AGE_NS, 7);
        mailbox.push(1, command("discard"), NOW).unwrap();
        mailbox.push(2, command("skip_shop"), NOW).unwrap();
        mailbox.push(1, command("play_hand"), NOW).unwrap();
        let first = mailbox.take_first_for(1).unwrap();
        assert_eq!((first.number, first.command.line.as_str()), (7, "discard"));
        assert_eq!(mailbox.take_first_for(1).unwrap().command.line, "play_hand");
        assert_eq!(mailbox.take_first_for(1), None);
        assert_eq!(mailbox.len(), 1);
    }

    #[test]
    fn commands_expire_in_order() {
        let mut mailbox = Mailbox::new(10 * SECOND, 1);
        mailbox.push(1, command("discard"), NOW).unwrap();
        mailbox.push(1, command("play_hand"), NOW.plus(SECOND)).unwrap();
        assert_eq!(mailbox.next_deadline(), Some(15 * SECOND));
        assert_eq!(mailbox.take_first_expired(NOW.plus(10 * SECOND - 1)), None);
        assert_eq!(
            mailbox.take_first_expired(NOW.plus(10 * SECOND)).unwrap().command.line,
            "discard"
        );
        assert_eq!(mailbox.take_first_expired(NOW.plus(10 * SECOND)), None);
    }

    #[test]
    fn the_mailbox_is_bounded_for_one_and_for_all() {
        let mut mailbox = Mailbox::new(SECOND, 1);
        for session in 0..limits::COMMANDS_MAX / limits::COMMANDS_PER_SESSION {
            for _ in 0..limits::COMMANDS_PER_SESSION {
                mailbox.push(session as u64, command("discard"), NOW).unwrap();
            }
        }
        assert_eq!(mailbox.push(0, command("discard"), NOW), Err(MailboxFull { is_session: true }));
        assert_eq!(
            mailbox.push(999, command("discard"), NOW),
            Err(MailboxFull { is_session: false })
        );
    }
}
