"""Tries the generated Python code under one runtime of protobuf: python check_runtime.py [EXPECTED_VERSION]

Imports every module, reads the schema's own options, runs the older service's guide, pickles, and decodes every golden
vector. Needs nothing but the runtime: scripts/check-schema runs it once for each line of protobuf-runtimes.txt.
"""

from __future__ import annotations

import importlib
import json
import pickle
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "python"))

import google.protobuf
from google.protobuf import json_format
from google.protobuf.internal import api_implementation
from jimbot.proto import balatro_events_pb2, base_pb2, options_pb2, resource_coordinator_pb2


def import_all() -> int:
    """Every module but the gRPC stubs, which need grpcio."""
    modules = [path.stem for path in sorted((ROOT / "python/jimbot/proto").glob("*_pb2.py"))]
    for module in modules:
        importlib.import_module(f"jimbot.proto.{module}")
    assert len(modules) >= 7, modules
    return len(modules)


def read_options() -> None:
    """The custom options survive generation."""
    played = base_pb2.EventType.DESCRIPTOR.values_by_name["EVENT_TYPE_HAND_PLAYED"]
    spec = played.GetOptions().Extensions[options_pb2.event]
    assert spec.topic == "game.hand.played" and "HAND_PLAYED" in spec.names, spec
    rule = balatro_events_pb2.DecisionResponseEvent.DESCRIPTOR.fields_by_name["confidence"].GetOptions()
    assert rule.Extensions[options_pb2.rule].max == 1, rule


def follow_the_older_guide() -> None:
    """What users of the older Python service have in their programs."""
    event = balatro_events_pb2.HandPlayedEvent()
    event.timestamp = time.time()
    event.hand_type = "Flush"
    event.score = 1e300
    back = balatro_events_pb2.HandPlayedEvent.FromString(event.SerializeToString())
    assert back == event and back.score == 1e300, back
    numbers = {
        field.name: field.number
        for field in balatro_events_pb2.BalatroGameStateEvent.DESCRIPTOR.fields
        if field.name in ("base", "triggers", "cascade_info")
    }
    assert numbers == {"base": 1, "triggers": 2, "cascade_info": 3}, numbers
    state = balatro_events_pb2.BalatroGameStateEvent(
        base=base_pb2.GameStateEvent(ante=2, money=-3),
        triggers=[balatro_events_pb2.TriggerEvent(joker_name="Baron")],
        cascade_info=balatro_events_pb2.CascadeInfo(cascade_id="c", depth=3),
    )
    assert pickle.loads(pickle.dumps(state)) == state
    assert type(state).__module__ == "jimbot.proto.balatro_events_pb2", type(state).__module__
    request = resource_coordinator_pb2.ResourceRequest(request_id="r", quantity=2)
    assert request.SerializeToString() == b"\n\x01r \x02", request


def decode_vectors() -> int:
    """Every vector says what its canonical JSON says, and so does the message read from that JSON."""
    vectors = json.loads((ROOT / "tests/vectors/manifest.json").read_text())
    assert len(vectors) >= 90, len(vectors)
    for vector in vectors:
        path = ROOT / "tests/vectors" / vector["name"]
        expected_text = path.with_suffix(".expected.json").read_text(encoding="utf-8")
        batch = base_pb2.EventBatch.FromString(path.with_suffix(".binpb").read_bytes())
        assert as_json(batch) == json.loads(expected_text), vector["name"]
        again = json_format.Parse(expected_text, base_pb2.EventBatch())
        assert as_json(again) == as_json(batch), vector["name"]
    return len(vectors)


def as_json(message: object) -> object:
    # Through text: the dictionary holds infinities and NaN as strings, but integers where the text has 1.0.
    return json.loads(json_format.MessageToJson(message, preserving_proto_field_name=True))


def main() -> None:
    version = google.protobuf.__version__
    assert len(sys.argv) < 2 or version == sys.argv[1], f"{version} was found instead of {sys.argv[1]}"
    modules = import_all()
    read_options()
    follow_the_older_guide()
    vectors = decode_vectors()
    print(f"Python, protobuf {version} ({api_implementation.Type()}): {modules} modules, {vectors} vectors agree")


if __name__ == "__main__":
    main()
