//! Converting what games send allocates nothing once the converter has seen its like.

use jimbot_core::convert::{BodyCursor, BodyForm, Context, Converter, Step};
use jimbot_traffic::workload::{Stream, Workload};
use jimbot_traffic::{Batch, Clock, Dialect, KeyOrder, samples};

fn convert(converter: &mut Converter, body: &[u8], room: &mut [u8]) -> u32 {
    let mut cursor = BodyCursor::new(BodyForm::Batch);
    let context = Context { lenient: true, ..Context::default() };
    loop {
        match converter.next(&mut cursor, body, &context, room) {
            Step::Event(_) => {}
            Step::Done(summary) => return summary.events,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn no_event_costs_an_allocation() {
    for dialect in [Dialect::Mod, Dialect::WebSocket, Dialect::Script] {
        for order in [KeyOrder::Listed, KeyOrder::Constant(2), KeyOrder::Random] {
            let events = samples::every_event(dialect, 1, order);
            let body = Batch::pack(&events, "batch", Clock::EXAMPLE).body;
            let mut converter = Converter::new();
            let mut room = vec![0; 1 << 20];
            // A list that comes for the second time is kept, and its place grows with the lists that it has held.
            for _ in 0..8 {
                convert(&mut converter, &body, &mut room);
            }
            let mut converted = 0;
            let spent = allocation_counter::measure(|| {
                converted = convert(&mut converter, &body, &mut room);
            });
            assert_eq!(converted as usize, events.len());
            assert_eq!(spent.count_total, 0, "{dialect:?} {order:?}");
        }
    }
}

#[test]
fn lists_that_change_in_every_state_are_kept_in_the_same_memory() {
    let mut stream = Stream::new(Workload::GameState, 1, Clock::EXAMPLE);
    let mut states = || (0..500).map(|_| stream.next_body().bytes).collect::<Vec<_>>();
    let mut converter = Converter::new();
    let mut room = vec![0; 1 << 20];
    for state in states() {
        convert(&mut converter, &state, &mut room);
    }
    let states = states();
    let before = converter.span_counts();
    let spent = allocation_counter::measure(|| {
        for state in &states {
            convert(&mut converter, state, &mut room);
        }
    });
    let counts = converter.span_counts();
    assert!(counts.hits > before.hits && counts.evicted > before.evicted, "{counts:?}");
    // Now and then a list is the longest so far.
    assert!(spent.count_total < states.len() as u64 / 50, "{spent:?}");
}
