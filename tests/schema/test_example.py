"""The worked example of docs/schema.md works: its edits apply, and what it promises comes true."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from conftest import ROOT, Tree, copy_tree

PLACE = ROOT / "target/schema-example/tree"
# Of its own: cargo would take the copy's crates for the tree's. It stays, so that the next time is quick.
BUILT = ROOT / "target/schema-example/built"


def example() -> Tree:
    shutil.rmtree(PLACE, ignore_errors=True)
    tree = copy_tree(PLACE)
    page = (ROOT / "docs/schema.md").read_text(encoding="utf-8")
    edits = re.findall(r"^```diff\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert len(edits) == 3, "the example consists of three edits"
    tree.run("git", "init", "--quiet")
    for number, edit in enumerate(edits):
        patch = PLACE / f"edit-{number}.patch"
        patch.write_text(edit, encoding="utf-8")
        applied = tree.run("git", "apply", str(patch))
        assert applied.returncode == 0, f"edit {number} of docs/schema.md does not apply any more: {applied.stderr}"
    return tree


def test_the_example_of_the_page_works() -> None:
    tree = example()
    python = str(ROOT / ".tools/schema/bin/python")
    commands = (
        ("scripts/generate",),
        (python, "tests/schema/make_vectors.py"),
        ("scripts/check-schema", "lint", "breaking", "generated", "vectors"),
        (python, "tests/schema/check_runtime.py"),
    )
    for command in commands:
        ran = tree.run(*command)
        assert ran.returncode == 0, f"{command}: {ran.stdout}{ran.stderr}"

    vector = json.loads((PLACE / "tests/vectors/mod_tag_redeemed.expected.json").read_text())
    event = vector["events"][0]
    assert event["type"] == "EVENT_TYPE_TAG_REDEEMED"
    assert event["tag_redeemed"] == {"tag": "Speed Tag", "money": 25.0}
    page = (PLACE / "docs/schema.md").read_text(encoding="utf-8")
    assert "| `TAG_REDEEMED` | `TagRedeemedEvent` | `game.tag.redeemed` |" in page
    assert "| `TagRedeemedEvent.tag` | at most 256 bytes | flag |" in page

    # The service converts it without a line of Rust: its own vector test passes with the new vector.
    built = tree.run(
        "cargo", "test", "--quiet", "--locked", "--package", "jimbot-core", "--test", "vectors",
        "--config", 'profile.dev.package."*".opt-level=0', "--config", "profile.dev.debug=false",
        CARGO_TARGET_DIR=str(BUILT),
    )
    assert built.returncode == 0, built.stdout + built.stderr
