"""The benchmark runs. What it measures is for people: nothing here looks at a time."""

import json
import subprocess
import sys

from conftest import REPOSITORY


def test_the_read_benchmark_runs():
    told = subprocess.run(
        [sys.executable, REPOSITORY / "python/benches/read.py", "--tiny", "--json"], capture_output=True, text=True
    )
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["events"] == 8192
