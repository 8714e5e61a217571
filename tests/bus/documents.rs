//! What documents say is what the code does.

use std::collections::BTreeSet;

#[test]
fn every_topic_is_in_the_table_and_no_other() {
    let text = include_str!("../../docs/topics.md");
    let told: BTreeSet<(String, String)> = text
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> =
                line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
            (cells.len() == 5 && cells[1].contains('.'))
                .then(|| (cells[1].to_owned(), cells[2].to_owned()))
        })
        .collect();
    let name = |spec: &jimbot_proto::EventSpec| {
        spec.event_type.as_str_name().trim_start_matches("EVENT_TYPE_").to_owned()
    };
    let real: BTreeSet<(String, String)> =
        jimbot_proto::EVENT_TYPES.iter().map(|spec| (spec.topic.to_owned(), name(spec))).collect();
    assert_eq!(told, real);
}
