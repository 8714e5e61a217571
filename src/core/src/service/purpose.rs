//! What a request is for, remembered by its head's name: clients ask for the same thing with the same head.

use crate::http::{KnownHead, Request};
use crate::limits;
use crate::service::routes::{self, Content, Route};

/// What a request is for, as far as its head tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Purpose {
    /// `None` when nothing is served there.
    pub(super) route: Option<Route>,
    /// How its body is to be read.
    pub(super) content: Content,
}

impl Purpose {
    pub(super) fn of(request: &Request<'_>) -> Purpose {
        Purpose {
            route: routes::find(request.method(), request.path()).ok(),
            content: routes::content(request.media_type()),
        }
    }
}

/// What is known of heads that have a name.
#[derive(Debug)]
pub(super) struct Purposes {
    known: [Option<(u32, Purpose)>; limits::KNOWN_HEADS],
}

impl Purposes {
    pub(super) const fn new() -> Purposes {
        Purposes { known: [None; limits::KNOWN_HEADS] }
    }

    /// The purpose of a request whose head has this name, found out where it is not known.
    pub(super) fn of(
        &mut self,
        name: Option<KnownHead>,
        find: impl FnOnce() -> Purpose,
    ) -> Purpose {
        let Some(name) = name else { return find() };
        let place = &mut self.known[usize::from(name.place)];
        match place {
            Some((serial, purpose)) if *serial == name.serial => *purpose,
            _ => {
                let purpose = find();
                *place = Some((name.serial, purpose));
                purpose
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: Purpose = Purpose { route: Some(Route::Events), content: Content::Json };
    const NOTHING: Purpose = Purpose { route: None, content: Content::Other };

    #[test]
    fn a_head_is_looked_at_once_for_each_name_it_has() {
        let mut purposes = Purposes::new();
        let name = KnownHead { place: 3, serial: 1 };
        assert_eq!(purposes.of(Some(name), || EVENTS), EVENTS);
        assert_eq!(purposes.of(Some(name), || unreachable!("known")), EVENTS);
        let later = KnownHead { serial: 2, ..name };
        assert_eq!(purposes.of(Some(later), || NOTHING), NOTHING, "another head in its place");
        assert_eq!(purposes.of(Some(later), || unreachable!("known")), NOTHING);
        assert_eq!(
            purposes.of(None, || EVENTS),
            EVENTS,
            "a head without a name is always looked at"
        );
    }
}
