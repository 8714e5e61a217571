"""Edits of the schema made on purpose: wrong ones are refused by the pipeline, which says why; good ones pass."""

from __future__ import annotations

import pytest
from conftest import Tree

PAYLOADS = "proto/jimbot/events/v1/balatro_events.proto"
OBJECTS = "proto/jimbot/events/v1/balatro_objects.proto"
BASE = "proto/jimbot/events/v1/base.proto"
COORDINATOR = "proto/jimbot/resource_coordinator.proto"

# What is edited, how, which part of the pipeline refuses it, and words that it says.
WRONG = {
    "a renumbered field": (PAYLOADS, "double difference = 3", "double difference = 4", "breaking", "difference"),
    "a removed field": (PAYLOADS, "  // Now less before.\n  optional double difference = 3;\n", "", "breaking", "was deleted"),
    "a renamed field": (PAYLOADS, "double difference = 3", "double delta = 3", "breaking", "delta"),
    "a field of another type": (PAYLOADS, "optional bool headless = 3", "optional string headless = 3", "breaking", "headless"),
    "a removed message": (BASE, "// A rule that an event breaks.\nmessage Finding {", "// A rule that an event breaks.\nmessage Fault {", "breaking", "Finding"),
    "a renumbered event type": (BASE, "EVENT_TYPE_METRIC = 54", "EVENT_TYPE_METRIC = 55", "breaking", 'enum value "54"'),
    "a removed method": ("proto/jimbot/events/v1/event_bus.proto", "  // Tells up to where a publisher's events are stored, so that it can go on after a failure.\n  rpc LastSequence(LastSequenceRequest) returns (LastSequenceResponse);\n", "", "breaking", "LastSequence"),
    "a changed number of the coordinator": (COORDINATOR, "string token = 6", "string token = 8", "breaking", "token"),
    "another topic": (BASE, '"game.hand.played"', '"game.hands.played"', "breaking", "game.hand.played"),
    "a forgotten name": (BASE, '"card_discarded", ', "", "breaking", "card_discarded"),
    "a field without a comment": (PAYLOADS, "  // Now less before.\n", "", "lint", "should have a non-empty comment"),
    "a message without a comment": (PAYLOADS, "// A sign of life. From HEARTBEAT.\n", "", "lint", "should have a non-empty comment"),
    "an enum value without a comment": (BASE, "  // A measured value.\n", "", "lint", "should have a non-empty comment"),
    "a name against the style": (PAYLOADS, "double difference = 3", "double theDifference = 3", "lint", "lower_snake_case"),
    "an integer for a game's number": (PAYLOADS, "optional double difference = 3", "optional int64 difference = 3", "lint", "is a double"),
    "a value without presence": (PAYLOADS, "optional double difference = 3", "double difference = 3", "lint", "not `optional`"),
    "a message without extra": (PAYLOADS, "message MetricEvent {\n  // What the payload has no field for: key to JSON text.\n  map<string, string> extra = 15;\n", "message MetricEvent {\n", "lint", "has no `map<string, string> extra = 15`"),
    "a topic of two types": (BASE, '"game.shop.exited"', '"game.shop.entered"', "lint", "game.shop.entered"),
    "a name of two types": (BASE, '"SHOP_EXITED"], ', '"SHOP_EXITED", "shop_entered"], ', "lint", "is a name of"),
    "a payload that is not there": (BASE, 'payload: "shop_exited"', 'payload: "shop_left"', "lint", "no field 'shop_left'"),
    "a type without its option": (BASE, ' [(event) = {names: ["metric", "METRIC"], payload: "metric", topic: "system.metric"}]', "", "lint", "no (event) option"),
    "a choice of the wrong type": (OBJECTS, "double rarity_number = 3", "string rarity_number = 3", "lint", "choice of JSON types"),
    "an edit that was not generated": (PAYLOADS, "// Now less before.", "// Now, less what was before.", "generated", "run scripts/generate"),
}

GOOD = {
    "a new field": (PAYLOADS, "  optional double difference = 3;\n", "  optional double difference = 3;\n  // Why it changed.\n  optional string reason = 4;\n"),
    "a better comment": (PAYLOADS, "// Now less before.", "// Now, less what was before."),
    "one more name": (BASE, '"card_discarded", ', '"card_discarded", "discard", '),
    "a method more": ("proto/jimbot/events/v1/actions.proto", "  // Tells what became", "  // Tells what became of a command, once more.\n  rpc LookUpCommand(LookUpCommandRequest) returns (LookUpCommandResponse);\n  // Tells what became"),
}


def test_the_tree_itself_passes(tree: Tree) -> None:
    checked = tree.run("scripts/check-schema", "--quick")
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_edit_is_refused(tree: Tree, what: str) -> None:
    path, old, new, part, words = WRONG[what]
    tree.edit(path, old, new)
    checked = tree.run("scripts/check-schema", part)
    output = checked.stdout + checked.stderr
    assert checked.returncode != 0, f"{what} was not refused:\n{output}"
    assert words in output, output


@pytest.mark.parametrize("what", GOOD)
def test_a_good_edit_passes(tree: Tree, what: str) -> None:
    path, old, new = GOOD[what]
    tree.edit(path, old, new)
    if "rpc" in new:
        actions = tree.root / path
        messages = "".join(f"\n// A message.\nmessage LookUpCommand{which} {{}}\n" for which in ("Request", "Response"))
        actions.write_text(actions.read_text() + messages)
    checked = tree.run("scripts/check-schema", "lint", "breaking")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_deliberate_break_goes_into_a_package_beside_the_old_one(tree: Tree) -> None:
    old = tree.root / "proto/jimbot/events/v1/options.proto"
    new = tree.root / "proto/jimbot/events/v2/options.proto"
    new.parent.mkdir()
    text = old.read_text()
    for in_v1, in_v2 in (
        ("jimbot.events.v1", "jimbot.events.v2"),
        ("events/v1;eventsv1", "events/v2;eventsv2"),
        # Numbers of options are unique over all packages.
        (" = 5000", " = 5100"),
        ("  // The number must be whole.\n  bool integer = 4;\n", '  reserved 4;\n  reserved "integer";\n'),
    ):
        assert in_v1 in text, in_v1
        text = text.replace(in_v1, in_v2)
    new.write_text(text)
    checked = tree.run("scripts/check-schema", "lint", "breaking")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_commit_hook_refuses_what_the_pipeline_refuses(tree: Tree) -> None:
    def git(*arguments: str) -> int:
        who = ("-c", "user.name=test", "-c", "user.email=test@localhost")
        return tree.run("git", *who, *arguments).returncode

    assert git("init", "--quiet") == 0
    assert git("add", "--all") == 0 and git("commit", "--quiet", "-m", "all") == 0
    assert tree.run("scripts/install-hooks").returncode == 0
    tree.edit(PAYLOADS, "  // Now less before.\n", "")
    assert git("commit", "--quiet", "-am", "no comment") != 0, "a missing comment was committed"
    assert git("checkout", "--quiet", PAYLOADS) == 0
    (tree.root / "NOTES").write_text("nothing to do with the schema")
    assert git("add", "NOTES") == 0 and git("commit", "--quiet", "-m", "notes") == 0
