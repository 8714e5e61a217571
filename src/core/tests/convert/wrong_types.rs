//! Every member of every event with a value of every other type, against the reference.

use std::collections::HashSet;

use jimbot_core::convert::Converter;
use jimbot_traffic::{Dialect, KeyOrder, samples};
use serde_json::{Value, json};

use crate::random::compare;

/// A place in an event: keys, and positions in lists.
type Path = Vec<Step>;

#[derive(Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Position(usize),
}

/// Cuts every list to its first element, which stands for all of them.
fn shorten(value: &mut Value) {
    match value {
        Value::Object(members) => members.values_mut().for_each(shorten),
        Value::Array(elements) => {
            elements.truncate(1);
            elements.iter_mut().for_each(shorten);
        }
        _ => {}
    }
}

/// All places below `value`.
fn places(value: &Value, at: &Path, found: &mut Vec<Path>) {
    let mut descend = |step: Step, inner: &Value| {
        let mut path = at.clone();
        path.push(step);
        found.push(path.clone());
        places(inner, &path, found);
    };
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(key, inner)| descend(Step::Key(key.clone()), inner));
        }
        Value::Array(elements) => {
            elements.iter().for_each(|inner| descend(Step::Position(0), inner));
        }
        _ => {}
    }
}

fn place<'a>(value: &'a mut Value, path: &Path) -> &'a mut Value {
    path.iter().fold(value, |value, step| match step {
        Step::Key(key) => &mut value[key],
        Step::Position(position) => &mut value[*position],
    })
}

fn shown(path: &Path) -> String {
    path.iter()
        .map(|step| match step {
            Step::Key(key) => format!(".{key}"),
            Step::Position(_) => "[]".to_owned(),
        })
        .collect()
}

#[test]
fn a_value_of_another_type_is_carried_wherever_it_stands() {
    let others = [
        Value::Null,
        json!(true),
        json!(-1.5),
        json!(7),
        json!("text"),
        json!(""),
        json!([]),
        json!({}),
        json!([1, "a"]),
        json!([{"id": 1}]),
        json!({"a": 1}),
    ];
    let mut converter = Converter::new();
    let mut tried = HashSet::new();
    for dialect in [Dialect::Mod, Dialect::WebSocket, Dialect::Script] {
        for event in samples::every_event(dialect, 1, KeyOrder::Listed) {
            // What is no strict JSON (bare `inf`) has tests of its own.
            let Ok(mut whole) = serde_json::from_slice::<Value>(&event.json) else { continue };
            shorten(&mut whole);
            let mut paths = Vec::new();
            places(&whole, &Path::new(), &mut paths);
            for path in paths {
                let name = format!("{dialect:?} {}{}", event.type_name, shown(&path));
                if !tried.insert(name.clone()) {
                    continue;
                }
                for other in &others {
                    let mut changed = whole.clone();
                    *place(&mut changed, &path) = other.clone();
                    compare(&mut converter, changed.to_string().as_bytes(), &name);
                }
            }
        }
    }
    assert!(tried.len() > 500, "{} places were tried", tried.len());
}
