//! When to call someone who may be down: a circuit breaker with backoff and a retry budget, without clock or randomness.
//!
//! *Closed*: calls go out. A failure is followed by a wait that doubles with each further one, drawn at random between
//! nothing and its full length ("full jitter"), so that many callers do not come back together; and it takes a token of the
//! retry budget, which only successes fill. After [`Terms::failures`] failures in a row it is *open*: no call goes out for
//! [`Terms::open_ns`]. Then it is *half-open*: calls go out one at a time, [`Terms::probes`] successes in a row close it, and
//! one failure opens it again. `LIFECYCLE.md` beside this file draws it.

use crate::time::{MILLISECOND, SECOND};

/// Thresholds and times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// Failures in a row that open the breaker.
    pub failures: u32,
    /// How long it stays open, in nanoseconds.
    pub open_ns: u64,
    /// Successes in a row that close it again.
    pub probes: u32,
    /// Longest wait after the first failure, in nanoseconds.
    pub backoff_ns: u64,
    /// Longest wait after any failure.
    pub backoff_max_ns: u64,
    /// Retries that the budget holds at most, and at the start.
    pub budget: u32,
    /// Successes that earn one retry.
    pub budget_successes: u32,
}

impl Default for Terms {
    fn default() -> Terms {
        Terms {
            failures: 5,
            open_ns: 60 * SECOND,
            probes: 3,
            backoff_ns: 100 * MILLISECOND,
            backoff_max_ns: 10 * SECOND,
            budget: 10,
            budget_successes: 10,
        }
    }
}

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Calls go out.
    Closed,
    /// No call goes out.
    Open,
    /// Calls go out to see whether they succeed.
    HalfOpen,
}

/// Whether a call may go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// Now. What came of it has to be told by [`Breaker::succeeded`] or [`Breaker::failed`].
    Go,
    /// Not before this time on the monotonic clock.
    Wait(u64),
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Breaker {
    terms: Terms,
    state: State,
    /// Failures in a row.
    failures: u32,
    /// Successes in a row while half-open.
    probes: u32,
    not_before_ns: u64,
    /// Retries left, in parts of `budget_successes`.
    budget: u32,
    opened: u64,
}

impl Breaker {
    /// A closed breaker with a full budget.
    ///
    /// # Panics
    /// When a count of `terms` is 0.
    pub fn new(terms: Terms) -> Breaker {
        let counts = [terms.failures, terms.probes, terms.budget, terms.budget_successes];
        assert!(counts.iter().all(|count| *count > 0), "counts of a breaker are at least 1");
        let budget = terms.budget.saturating_mul(terms.budget_successes);
        Breaker {
            terms,
            state: State::Closed,
            failures: 0,
            probes: 0,
            not_before_ns: 0,
            budget,
            opened: 0,
        }
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// Times it has opened.
    pub fn opened(&self) -> u64 {
        self.opened
    }

    /// Whether a call may go out at `now_ns`.
    pub fn permit(&mut self, now_ns: u64) -> Permit {
        if now_ns < self.not_before_ns {
            return Permit::Wait(self.not_before_ns);
        }
        if self.state == State::Open {
            self.state = State::HalfOpen;
            self.probes = 0;
        }
        Permit::Go
    }

    /// A call succeeded.
    pub fn succeeded(&mut self) {
        self.failures = 0;
        self.not_before_ns = 0;
        let full = self.terms.budget.saturating_mul(self.terms.budget_successes);
        self.budget = self.budget.saturating_add(1).min(full);
        if self.state != State::Closed {
            self.probes += 1;
            if self.probes >= self.terms.probes {
                self.state = State::Closed;
            }
        }
    }

    /// A call failed. `chance` is random, from 0 up to 1.
    pub fn failed(&mut self, now_ns: u64, chance: f64) {
        debug_assert!((0.0..1.0).contains(&chance));
        self.failures = self.failures.saturating_add(1);
        let price = self.terms.budget_successes;
        let broke = self.budget < price;
        self.budget = self.budget.saturating_sub(price);
        if self.state != State::Closed || self.failures >= self.terms.failures || broke {
            if self.state != State::Open {
                self.opened += 1;
            }
            self.state = State::Open;
            self.not_before_ns = now_ns.saturating_add(self.terms.open_ns);
            // What comes after the pause is a new start: it may fail once and be tried again.
            self.budget = self.budget.max(price);
            self.failures = 0;
            return;
        }
        let doubled = 1u64.checked_shl(self.failures - 1).unwrap_or(u64::MAX);
        let longest = self.terms.backoff_ns.saturating_mul(doubled).min(self.terms.backoff_max_ns);
        self.not_before_ns = now_ns.saturating_add((longest as f64 * chance) as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn five_failures_open_it_and_three_probes_close_it() {
        let mut breaker = Breaker::new(Terms::default());
        let mut now = 0;
        for failure in 0..5 {
            assert_eq!(breaker.state(), State::Closed);
            assert_eq!(breaker.permit(now), Permit::Go, "failure {failure}");
            breaker.failed(now, 0.5);
            let Permit::Wait(until) = breaker.permit(now) else {
                panic!("a failure is followed by a wait")
            };
            now = until;
        }
        assert_eq!(breaker.state(), State::Open);
        assert_eq!(breaker.permit(now - 1), Permit::Wait(now));
        for probe in 0..3 {
            assert_eq!(breaker.permit(now), Permit::Go);
            assert_eq!(breaker.state(), State::HalfOpen, "probe {probe}");
            breaker.succeeded();
        }
        assert_eq!((breaker.state(), breaker.opened()), (State::Closed, 1));
    }

    #[test]
    fn a_probe_that_fails_opens_it_for_the_whole_time_again() {
        let mut breaker = Breaker::new(Terms { failures: 1, ..Terms::default() });
        breaker.failed(0, 0.9);
        assert_eq!(breaker.permit(60 * SECOND), Permit::Go);
        breaker.succeeded();
        breaker.failed(60 * SECOND, 0.0);
        assert_eq!(breaker.permit(61 * SECOND), Permit::Wait(120 * SECOND));
    }

    #[test]
    fn waits_double_up_to_their_bound_and_are_drawn_from_the_whole_length() {
        let mut breaker = Breaker::new(Terms { failures: 100, budget: 100, ..Terms::default() });
        for longest in [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000] {
            breaker.failed(0, 0.0);
            assert_eq!(breaker.permit(0), Permit::Go);
            let mut late = breaker.clone();
            late.failures -= 1;
            late.failed(0, 0.999_999);
            let Permit::Wait(until) = late.permit(0) else { panic!("it waits") };
            assert_eq!(until.div_ceil(MILLISECOND), longest);
        }
    }

    #[test]
    fn when_every_other_call_fails_the_budget_ends_the_retries() {
        let mut breaker = Breaker::new(Terms::default());
        let mut calls = 0;
        while breaker.state() == State::Closed {
            breaker.succeeded();
            breaker.failed(0, 0.0);
            calls += 1;
        }
        assert!(
            (10..20).contains(&calls),
            "{calls}: a failure in two is too many, though never five in a row"
        );
    }

    proptest! {
        #[test]
        fn it_never_waits_longer_than_it_says_and_always_goes_on(
            steps in proptest::collection::vec((any::<bool>(), 0.0f64..1.0, 0u64..100 * SECOND), 1..200)
        ) {
            let terms = Terms::default();
            let mut breaker = Breaker::new(terms);
            let mut now = 0;
            for (success, chance, pause) in steps {
                now += pause;
                match breaker.permit(now) {
                    Permit::Wait(until) => {
                        prop_assert!(until > now && until - now <= terms.open_ns.max(terms.backoff_max_ns));
                        prop_assert_eq!(breaker.permit(until), Permit::Go);
                        now = until;
                    }
                    Permit::Go => {}
                }
                prop_assert!(breaker.state() != State::Open, "who may call is not shut out");
                if success { breaker.succeeded() } else { breaker.failed(now, chance) }
            }
        }
    }
}
