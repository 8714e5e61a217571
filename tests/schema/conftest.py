"""What the tests of the schema's pipeline share: a copy of the tree to make edits in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "python"), str(Path(__file__).parent)]


@dataclass
class Tree:
    """A copy of the tree."""

    root: Path

    def edit(self, path: str, old: str, new: str) -> None:
        """Replaces a text that must stand in the file exactly once."""
        file = self.root / path
        text = file.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{path} holds {old!r} {text.count(old)} times"
        file.write_text(text.replace(old, new), encoding="utf-8")

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs one of the tree's own scripts or tools."""
        return subprocess.run(
            command, cwd=self.root, env={**os.environ, **environment}, capture_output=True, text=True, check=False
        )


def tracked_files() -> list[str]:
    """What belongs to the tree: committed, or new and not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


# What the schema's own scripts look at.
SCHEMA_PARTS = ("proto/", "scripts/", "clients/", "python/jimbot/", "docs/", "tests/schema/", "tests/vectors/", "Cargo.toml", "LICENSE", ".gitignore")


def copy_tree(target: Path, parts: tuple[str, ...] = ("",)) -> Tree:
    """Copies the files whose names start with one of ``parts``; the installed tools are shared, not copied."""
    for name in tracked_files():
        if not name.startswith(parts):
            continue
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name)
    (target / ".tools").symlink_to(ROOT / ".tools")
    modules = ROOT / "clients/typescript/node_modules"
    if modules.is_dir():
        (target / "clients/typescript/node_modules").symlink_to(modules)
    return Tree(target)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A fresh copy of what the schema's scripts look at."""
    return copy_tree(tmp_path / "tree", SCHEMA_PARTS)
