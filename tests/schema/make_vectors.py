"""Writes the golden vectors: .tools/schema/bin/python tests/schema/make_vectors.py [--check]

With --check it writes nothing, and fails when what is in the tree differs.

For each vector tests/vectors holds three files: NAME.json, the body as a game or client sends it; NAME.binpb, the
EventBatch it becomes; NAME.expected.json, the same in the canonical JSON of Protocol Buffers. The bytes come from the
reference converter and not from the service's, which must agree with them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "python")]

import bodies
import reference
from google.protobuf import json_format
from jimbot.proto import base_pb2

VECTORS = HERE.parent / "vectors"
# What the service adds; the same in all vectors.
LOG_EPOCH, RECEIVED, SESSION, GAME_KEY = 0x1122334455667788, 1_795_327_244_123_456_789, 0x5E5510, 0x6A3E


def stored(events: list[Any]) -> Any:
    """The events with what the service adds when it stores them."""
    batch = base_pb2.EventBatch(events=events)
    for index, event in enumerate(batch.events):
        event.log_epoch = LOG_EPOCH
        event.sequence = index + 1
        event.receive_time_unix_ns = RECEIVED
        event.session = SESSION
        event.game_key = GAME_KEY
    return batch


def canonical(batch: Any) -> str:
    """Canonical JSON, with the schema's names and one value a line."""
    text = json_format.MessageToJson(batch, preserving_proto_field_name=True, indent=1, sort_keys=True, ensure_ascii=False)
    return text + "\n"


def vectors() -> dict[str, dict[str, bytes]]:
    """File name to content, for all vectors and the manifest."""
    files: dict[str, bytes] = {}
    manifest = []
    for vector in bodies.all_vectors():
        if vector.body is not None:
            batch = stored(reference.convert(vector.body, vector.lenient))
            files[f"{vector.name}.json"] = vector.body
        else:
            batch = vector.batch
        data = batch.SerializeToString(deterministic=True) + vector.appended
        files[f"{vector.name}.binpb"] = data
        files[f"{vector.name}.expected.json"] = canonical(base_pb2.EventBatch.FromString(data)).encode()
        manifest.append({"name": vector.name, "about": vector.about, "from_json": vector.body is not None, "lenient": vector.lenient})
    files["manifest.json"] = (json.dumps(manifest, indent=1) + "\n").encode()
    return files


def main() -> None:
    files = vectors()
    kept = {path.name: path.read_bytes() for path in VECTORS.glob("*") if path.suffix in (".json", ".binpb")}
    count = sum(name.endswith(".binpb") for name in files)
    if sys.argv[1:] == ["--check"]:
        differing = sorted(name for name in files.keys() | kept.keys() if files.get(name) != kept.get(name))
        if differing:
            sys.exit(f"error: these vectors are not what the reference converter makes: {', '.join(differing)}")
        print(f"vectors: {count} are what the reference converter makes")
        return
    VECTORS.mkdir(exist_ok=True)
    for name in kept.keys() - files.keys():
        (VECTORS / name).unlink()
    for name, content in files.items():
        (VECTORS / name).write_bytes(content)
    print(f"{count} vectors written to {VECTORS}")


if __name__ == "__main__":
    main()
