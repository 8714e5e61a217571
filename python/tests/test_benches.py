"""The benchmark runs. What it measures is for people: nothing here looks at a time."""

import json
import subprocess
import sys

from conftest import REPOSITORY


def test_the_read_benchmark_runs(tmp_path):
    told = subprocess.run(
        [sys.executable, REPOSITORY / "python/benches/read.py", "--quick", "--out", tmp_path], capture_output=True, text=True
    )
    assert told.returncode == 0, told.stderr
    report = json.loads((tmp_path / "read.json").read_text())
    assert report["events"] == 8192
    assert len(report["ratio"]["turns"]) == report["rounds"]
    assert (tmp_path / "read.txt").read_text() == told.stdout
