"""Reads a log with the installed package, and nothing but it: python read_once.py LOGWRITER."""

import json
import shutil
import subprocess
import sys
import tempfile

from jimbot.mcp import Reader

directory = tempfile.mkdtemp(prefix="jimbot-test-", dir="/dev/shm")
writer = subprocess.Popen([sys.argv[1], directory], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
try:
    writer.stdout.readline()
    for request in ({"do": "append", "count": 5, "type": 4}, {"do": "commit"}):
        writer.stdin.write(json.dumps(request) + "\n")
        writer.stdin.flush()
        writer.stdout.readline()
    with Reader(directory, name="t", guarantee="reliable", start="earliest", timeout=0) as reader:
        (batch,) = [batch.copy() for batch in reader]
    assert batch.index["sequence"].tolist() == [event.sequence for event in batch.events()] == [1, 2, 3, 4, 5]
finally:
    writer.communicate()
    shutil.rmtree(directory)
