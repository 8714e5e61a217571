"""The bodies of the golden vectors: one for each event type, then the odd ones, then what came from other versions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jimbot.proto import balatro_events_pb2, base_pb2, options_pb2

SUITS = ("Hearts", "Diamonds", "Clubs", "Spades")
RANKS = ("2", "3", "4", "5", "6", "7", "8", "9", "10", "Jack", "Queen", "King", "Ace")
CLOCK = 86400516.669667


@dataclass
class Vector:
    """One vector: a body, or (for events that no game sends) the batch itself."""

    name: str
    about: str
    body: bytes | None = None
    batch: Any = None
    lenient: bool = True
    appended: bytes = b""


def text(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def mod_event(kind: str, payload: Any, **more: Any) -> dict[str, Any]:
    """An event as the mod sends it."""
    return {
        "type": kind,
        "source": "BalatroMCP",
        "timestamp": CLOCK,
        "event_id": "8f14e45f-ceea-467a-9575-6d1e0c3b2a10",
        "version": 1,
        "payload": payload,
        **more,
    }


def old_event(kind: str, data: Any, **more: Any) -> dict[str, Any]:
    """An event as clients of the older WebSocket service send it."""
    return {"type": kind, "timestamp": 1795327244.25, "game_id": "game-1", "data": data, **more}


def card(index: int, position: int) -> dict[str, Any]:
    return {
        "id": index + 1 if index % 3 else f"card_{index + 1}",
        "rank": RANKS[index % 13],
        "suit": SUITS[index // 13 % 4],
        "enhancement": ("none", "bonus", "mult", "wild", "glass", "steel", "stone", "gold")[index % 8],
        "edition": ("none", "none", "foil", "holographic", "polychrome")[index % 5],
        "seal": "Red" if index % 11 == 0 else "none",
        "position": position,
    }


def joker(index: int, name: str) -> dict[str, Any]:
    return {
        "id": (index + 0.5, f"j_{index}", True)[index % 3],
        "name": name,
        "position": index,
        "properties": {"mult": 4 * index, "chips": 0, "cost": 5 + index, "sell_value": "2" if index % 2 else 2, "edition": "none"},
    }


def state(cards: int = 52, jokers: int = 3) -> dict[str, Any]:
    names = ("Joker", "Blueprint", "Hanging Chad", "Baron", "Mime", "Riff-Raff", "Séance", "8 Ball")
    return {
        "in_game": True,
        "game_id": "7LB2WVPK",
        "ante": 2,
        "round": 5,
        "hand_number": 1,
        "hand_size": 8,
        "hands_remaining": 3,
        "discards_remaining": 2,
        "chips": 1.2345678901235e17,
        "mult": 24,
        "money": -3,
        "game_state": "PLAYING",
        "ui_state": "SELECTING_HAND",
        "timestamp": 1795327244,
        "frame_count": 48211,
        "blind": {"name": "The Hook", "chip_text": "1,600", "chips": 1600, "mult": 2, "defeated": False, "boss": True},
        "jokers": [joker(index, names[index % 8]) for index in range(jokers)],
        "hand": [card(index * 5 % cards, index) for index in range(min(8, cards))],
        "deck": {
            "remaining_count": cards - 8,
            "cards_remaining": [card(index, index) for index in range(min(5, cards))],
            "full_deck": [card(index, index) for index in range(cards)],
        },
        "consumables": [
            {"id": 7, "name": "The Fool", "card_type": "Tarot", "position": 0, "properties": {"cost": 3, "edition": "negative"}}
        ],
        "shop_items": {
            "joker_1": {"name": "Baron", "cost": 8, "rarity": 3},
            "booster_1": {"name": "Arcana Pack", "cost": 4},
            "voucher_1": {"name": "Overstock", "cost": 10, "rarity": "common"},
        },
        "score_history": {"round_1": 320, "best": {"hand": "Flush", "score": 1e308}, "last": ["1", "2.5"]},
    }


def of_the_mod() -> Iterator[Vector]:
    """Section by section what the mod of today sends."""
    scoring = {
        "HAND_EVAL_START": {"starting_score": 300, "ante": 1, "round": 2, "hand_number": 1},
        "JOKER_TRIGGER": {
            "joker": {"name": "Hanging Chad", "id": 31.25, "position": 1},
            "score_contribution": 120,
            "current_total": 420,
            "timestamp": CLOCK,
        },
        "HAND_EVAL_COMPLETE": {
            "starting_score": 300, "final_score": 1e300, "total_delta": 1e300, "joker_triggers": 104,
            "ante": 1, "round": 2, "hand_number": 1,
        },
        "SCORE_UPDATE": {
            "previous_score": 300, "new_score": 420, "delta": 120, "total_hand_delta": 120, "context": "joker_main", "timestamp": CLOCK,
        },
        "MULT_UPDATE": {"mult_before": 4, "mult_after": 8, "delta": 4, "source": "Joker", "timestamp": CLOCK},
        "CHIPS_UPDATE": {"chips_before": 10, "chips_after": 40, "delta": 30, "source": "card", "timestamp": CLOCK},
    }
    payloads = {
        "HEARTBEAT": {"version": "0.1.0", "uptime": CLOCK, "headless": False, "game_state": "5"},
        "GAME_STATE": state(),
        "MONEY_CHANGED": {"old_value": 4, "new_value": 9, "difference": 5},
        "SCORE_CHANGED": {"old_chips": 0, "new_chips": 120, "old_mult": 1, "new_mult": 1e14},
        "HAND_PLAYED": {"hands_remaining": 3, "hand_number": 1},
        "CARDS_DISCARDED": {"discards_remaining": 2},
        "JOKERS_CHANGED": {"old_count": 1, "new_count": 2, "jokers": [joker(0, "Joker"), joker(1, "Baron")]},
        "ROUND_CHANGED": {"ante": 2, "round": 4},
        "PHASE_CHANGED": {"old_phase": "SHOP", "new_phase": "UNKNOWN_STATE_19"},
        "ROUND_COMPLETE": {"ante": 1, "round": 3, "score": 4096, "money": 12},
        "JOKER_TRIGGER": {"joker_name": "Hanging Chad", "context_type": True, "timestamp": CLOCK},
        "ERROR": {"message": "attempt to index a nil value", "context": {"state": 5, "area": "hand"}, "stack_trace": "main.lua:1\n\tcore.lua:2"},
        "DIAGNOSTIC": {
            "available_functions": ["play_cards_from_highlighted", "discard_cards_from_highlighted"],
            "g_exists": True, "g_funcs_exists": True, "g_game_exists": False, "g_state": "11",
        },
    }
    for kind, payload in payloads.items():
        yield Vector(f"mod_{kind.lower()}", f"{kind} as the mod sends it", text(mod_event(kind, payload)))
    for kind, payload in scoring.items():
        yield Vector(f"mod_scoring_{kind.lower()}", f"SCORING/{kind} as the mod sends it", text(mod_event("SCORING", payload, subtype=kind)))
    request = {"request_id": "REQ-1795327244-0042", "game_state": state(8, 1), "available_actions": ["play_hand", "discard"], "time_limit_ms": 1000}
    yield Vector(
        "mod_decision_request", "LEARNING_DECISION/REQUEST as the mod sends it",
        text(mod_event("LEARNING_DECISION", request, subtype="REQUEST", priority="high")),
    )
    menu = {"in_game": False, "timestamp": 1795327244, "phase": "MENU"}
    yield Vector("mod_game_state_menu", "GAME_STATE outside a game", text(mod_event("GAME_STATE", menu)))
    test = {"type": "connection_test", "timestamp": 1795327244000, "source": "BalatroMCP", "data": {"message": "BalatroMCP connected"}}
    yield Vector("mod_connection_test", "the one event on the single-event path; no payload, no id", text(test))
    changes = [mod_event("MONEY_CHANGED", payloads["MONEY_CHANGED"])]
    batch = {
        "batch_id": "BATCH-17", "source": "BalatroMCP", "timestamp": 1795327244000,
        "events": [
            *changes,
            mod_event("GAME_STATE", menu, initial=True, debug=True, changes=changes),
            mod_event("HEARTBEAT", payloads["HEARTBEAT"], priority="low", changes={}),
        ],
    }
    yield Vector("mod_batch", "a batch: its own keys travel with its last event", text(batch))


def of_older_clients() -> Iterator[Vector]:
    """The older WebSocket dialect, the scripts' dialect, and what learners send."""
    data = {
        "game_start": {"seed": "7LB2WVPK", "stake": 1, "deck": "Red Deck", "starting_money": 4},
        "game_over": {"final_score": 123456, "round_reached": 9, "reason": "out of hands"},
        "hand_played": {"hand_type": "Flush", "cards": ["10H", "KH", "2H", "AH", "5H"], "score": 480, "multiplier": 4, "hands_remaining": 2},
        "shop_entered": {"round": 3, "money": 11, "available_items": [{"type": "joker", "id": "j_baron", "cost": 8, "name": "Baron"}]},
        "shop_exited": {"round": 3, "money": 3, "items_purchased": 1, "money_spent": 8},
        "card_purchased": {"card_type": "joker", "card_id": "j_baron", "cost": 8, "money_remaining": 3},
        "card_sold": {"card_type": "joker", "card_id": 12, "sell_value": 4, "money_remaining": 7},
        "blind_selected": {"blind_type": "boss", "blind_name": "The Hook", "ante": 2, "chips_required": 1600},
        "blind_defeated": {"blind_type": "boss", "blind_name": "The Hook", "ante": 2, "score": 1700, "reward": 5},
        "joker_triggered": {"joker_name": "Baron", "joker_id": 12, "effect": "x1.5 mult", "mult": 1.5},
        "action": {"action": "play_hand", "params": {"cards": [0, 2]}, "success": True},
        "state_change": {"old_state": "SHOP", "new_state": "BLIND_SELECT"},
        "round_start": {"ante": 2, "round": 4, "blind": "Small Blind", "money": 7},
        "round_end": {"ante": 2, "round": 4, "score": 900, "money": 12, "won": True},
        "ante_change": {"old_ante": 1, "new_ante": 2},
        "booster_opened": {"booster_type": "Arcana", "name": "Arcana Pack", "cost": 4, "cards": ["The Fool", "Death"], "choices": 1},
        "card_enhanced": {"card": "10H", "card_id": "card_9", "enhancement": "glass", "source": "Justice"},
        "card_discarded": {"card": "2C", "cards": ["2C"], "discards_remaining": 1},
        "state_snapshot": state(8, 1),
        "error": {"message": "lost the window", "error_code": "E7", "context": {}},
        "heartbeat": {"version": "older", "uptime": 12.5},
    }
    for kind, payload in data.items():
        yield Vector(
            f"old_{kind}", f"{kind} of the older WebSocket clients",
            text(old_event(kind, payload, trace_id="4bf92f3577b34da6a3ce929d0e0e4736", span_id="00f067aa0ba902b7")), lenient=False,
        )
    learners = {
        "decision_response": {"request_id": "REQ-1795327244-0042", "action": "select_card", "params": {"position": 3}, "confidence": 0.75, "model_version": "ppo-7", "latency_ms": 3.5},
        "strategy_request": {"request_id": "S-1", "strategy_type": "shop", "question": "Which joker?", "context": {"money": 11}, "time_limit_ms": 2000},
        "strategy_response": {"request_id": "S-1", "strategy": "Save for Baron", "recommended_actions": ["skip_shop"], "confidence": 1, "model": "coach-2"},
        "knowledge_update": {"entity_id": "j_baron", "entity_type": "joker", "operation": "update", "properties": {"wins": 12}, "confidence": 0.5},
        "metric": {"name": "learner_step_seconds", "value": 0.125, "labels": {"worker": "3"}, "kind": "gauge"},
        "round_summary": {"ante": 2, "round": 4, "won": True, "score": 900, "required_score": 800, "hands_played": 3, "best_hand_score": 480},
        "game_summary": {"won": False, "final_score": 123456, "ante_reached": 3, "rounds_played": 9, "jokers": ["Baron"], "reason": "out of hands"},
        "cascade": {
            "cascade_info": {
                "cascade_id": "c-1", "initial_trigger": {"joker_name": "Baron", "order": 0, "sequence": 41},
                "chain": [{"joker_name": "Baron", "order": 0, "sequence": 41}, {"joker_name": "Mime", "order": 1, "caused_by": 41, "sequence": 42}],
                "depth": 2, "total_score": 120, "trigger_count": 2, "complete": True,
            },
            "starting_score": 300, "final_score": 420, "first_sequence": 41, "last_sequence": 42,
        },
    }
    for kind, payload in learners.items():
        more = {
            "producer": "learner-3", "producer_sequence": 7, "correlation_id": "C-9", "metadata": {"host": "trainer"},
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tracestate": "jimbot=1",
        }
        yield Vector(f"learner_{kind}", f"{kind} of a producer that numbers its events", text(old_event(kind, payload, **more)), lenient=False)
    script = {"event_type": "hand_played", "timestamp": "2026-11-22T06:00:44.125Z", "game_state": {"hand_type": "Pair", "score": 64}}
    yield Vector("script_hand_played", "the scripts' dialect: event_type, game_state, ISO 8601", text(script), lenient=False)
    script["timestamp"] = "2026-11-22T08:00:44.125250+02:00"
    yield Vector("script_time_zone", "a time that says more than the number does is carried as text too", text(script), lenient=False)


def odd_ones() -> Iterator[Vector]:
    """JSON as it comes."""

    def odd(name: str, about: str, body: bytes) -> Vector:
        return Vector(f"odd_{name}", about, body)

    def event(kind: str, payload: bytes, more: bytes = b"") -> bytes:
        return b'{"type":"%s","timestamp":86400516.669667,"payload":%s%s}' % (kind.encode(), payload, more)

    yield odd("smallest", "an empty object, from a sender that is never refused", b"{}")
    yield odd("type_only", "a type and nothing else", b'{"type":"HAND_PLAYED"}')
    yield odd("empty_lists", "an empty list arrives as {}", event("GAME_STATE", b'{"in_game":true,"jokers":{},"hand":{},"deck":{"full_deck":{}},"shop_items":{},"score_history":{}}', b',"changes":{}'))
    yield odd("strings_in_lists", "scalars in lists arrive as strings", event("DIAGNOSTIC", b'{"available_functions":["1","2.5","true","play"]}'))
    yield odd("numbered_list", "a list in a list arrives as an object with numbers for keys", event("JOKERS_CHANGED", b'{"jokers":{"2":{"name":"b"},"1":{"name":"a"}}}'))
    yield odd("bare_infinities", "inf and nan stand bare", event("SCORE_CHANGED", b'{"old_chips":inf,"new_chips":-inf,"old_mult":nan,"new_mult":-nan}'))
    yield odd("numbers", "numbers at the edges of a double", event("SCORING", b'{"starting_score":-0,"final_score":1e+308,"total_delta":4.9406564584125e-324,"ante":0.3,"round":1e-07,"hand_number":1e+14,"delta":1.2345678901235e+17}', b',"subtype":"HAND_EVAL_COMPLETE"'))
    yield odd("numbers_too_long", "a number that no double holds is carried as text too", event("MONEY_CHANGED", b'{"old_value":12345678901234567890,"new_value":1e999,"difference":0.30000000000000004}'))
    yield odd("control_characters", "control characters come raw", event("ERROR", b'{"message":"a\x01b\x1f\\n\\t\\"","stack_trace":"\x7f"}'))
    yield odd("broken_utf8", "text that is not UTF-8 is repaired, its bytes stand beside it", event("JOKERS_CHANGED", b'{"jokers":[{"name":"Jok\xffer \xe2\x82","position":0}]}'))
    yield odd("broken_utf8_in_extra", "the same in a value that has no field", event("MONEY_CHANGED", b'{"note":{"a":"\xc3\x28"}}'))
    yield odd("unknown_type", "a type that the schema does not know", event("BOSS_DANCED", b'{"steps":[1,2]}'))
    yield odd("unknown_subtype", "a scoring kind that the schema does not know", event("SCORING", b'{"delta":1}', b',"subtype":"RETRIGGER"'))
    yield odd("unknown_fields", "fields that the schema does not know, at every level", event("GAME_STATE", b'{"in_game":true,"weather":"rain","deck":{"remaining_count":1,"colour":[1,{"a":null}]},"jokers":[{"name":"J","mood":1.50}]}', b',"extra_key":{"x":[]},"nothing":null'))
    yield odd("other_types", "values of other types than usual", event("GAME_STATE", b'{"in_game":"yes","ante":"two","chips":{"sign":1,"array":[5]},"jokers":[1,2],"hand":"none","deck":[],"shop_items":[],"blind":7}', b',"version":"1","source":5,"event_id":12,"priority":"urgent","initial":"true"'))
    yield odd("payload_not_an_object", "a payload that is a list", event("HEARTBEAT", b"[1,2]"))
    yield odd("type_not_a_text", "a type that is a number", b'{"type":5,"payload":{"a":1}}')
    yield odd("boss_object", "a boss that is an object", event("GAME_STATE", b'{"blind":{"name":"The Wall","boss":{"min":2,"max":10}}}'))
    yield odd("payload_first", "the payload stands before its type", b'{"payload":{"hands_remaining":3,"hand_type":"Pair"},"timestamp":5.5,"type":"HAND_PLAYED"}')
    yield odd("data_in_mod_event", "data instead of payload in the mod's dialect", b'{"type":"MONEY_CHANGED","timestamp":5.5,"data":{"new_value":7}}')
    yield odd("whitespace", "space wherever it may be", b' {\n "type" : "ROUND_CHANGED" ,\t"payload" : { "ante" : 1 , "round" : 2 } }\r\n')
    yield odd("escapes", "escapes of strict JSON", event("ERROR", b'{"message":"\\u0041\\u00e9\\ud83c\\udccf\\/\\b\\f\\\\"}'))
    yield odd("labels", "a label that is no text", event("METRIC", b'{"name":"m","labels":{"a":"x","n":5}}', b',"metadata":{"k":"v","n":null}'))
    yield odd("flagged", "values that break rules are kept and flagged", event("DECISION_RESPONSE", b"{}").replace(b"DECISION_RESPONSE", b"decision_response").replace(b"{}", b'{"request_id":"has space","confidence":1.5}', 1))
    yield odd("state_unknown_by_number", "UNKNOWN_STATE_ and anything", event("GAME_STATE", b'{"game_state":"UNKNOWN_STATE_42"}'))
    yield odd("state_never_heard_of", "a phase that no game has", event("GAME_STATE", b'{"game_state":"NAPPING"}'))
    yield odd("key_twice", "a key twice: the last value counts, the earlier ones are carried", event("MONEY_CHANGED", b'{"new_value":1,"old_value":0,"new_value":2,"note":"a","note":"b","new_value":3}', b',"version":1,"version":2'))
    yield odd("high_priority", "priority by name", event("MONEY_CHANGED", b"{}", b',"priority":"normal"'))
    yield odd("epoch_time_in_mod_event", "a time that can only be epoch milliseconds", b'{"type":"MONEY_CHANGED","timestamp":1795327244123}')
    yield odd("no_time_text", "a timestamp that is no time", b'{"type":"MONEY_CHANGED","timestamp":"yesterday"}')
    yield odd("list_of_events", "a list of events in one message", text([mod_event("ROUND_CHANGED", {"round": n}) for n in (1, 2, 3)]))
    error = {"message": "stack overflow", "context": {"depth": 200}, "stack_trace": "\n".join(f"\tmain.lua:{n}: in function 'f{n}'" for n in range(560))}
    yield odd("largest_error", "an error of 20 KB", text(mod_event("ERROR", error)))
    yield odd("largest_state", "a state of 36 KB", text(mod_event("GAME_STATE", state(230, 15))))
    trigger = {"joker": {"name": "J" * 300, "id": "x" * 300, "position": 1, "config": {"a" * 100: ["b" * 100] * 25}}, "score_contribution": 1, "current_total": 1}
    yield odd("largest_trigger", "a trigger with the joker's live table in it", text(mod_event("SCORING", trigger, subtype="JOKER_TRIGGER")))


def of_the_service() -> Iterator[Vector]:
    """Events that the service makes itself; there is no JSON of them."""

    def made(name: str, about: str, kind: int, **payload: Any) -> Vector:
        event = base_pb2.Event(
            log_epoch=0x1122334455667788, sequence=1, type=kind, receive_time_unix_ns=1_795_327_244_123_456_789, source="jimbot-mcp", **payload
        )
        return Vector(f"service_{name}", about, batch=base_pb2.EventBatch(events=[event]))

    session = balatro_events_pb2.SessionChangeEvent
    command = balatro_events_pb2.CommandEvent
    unreadable = balatro_events_pb2.UnreadableEvent
    yield made("session_started", "a game process came", base_pb2.EVENT_TYPE_SESSION_STARTED, session=3, session_change=session(kind="address", peer="127.0.0.1:50112", user_agent="BalatroMCP/1.0", reason="connection_test", previous_session=2))
    yield made("session_ended", "a game process went", base_pb2.EVENT_TYPE_SESSION_ENDED, session=3, session_change=session(kind="websocket", reason="closed", events=1 << 40))
    yield made("command_accepted", "a command waits for its game", base_pb2.EVENT_TYPE_COMMAND_ACCEPTED, command=command(command_id="c1", line="select_card:3", action="select_card", params={"position": "3"}, target_session=3))
    yield made("command_delivered", "a game fetched a command", base_pb2.EVENT_TYPE_COMMAND_DELIVERED, command=command(command_id="c1", line="select_card:3", waited_ms=412.5))
    yield made("command_expired", "no game fetched a command", base_pb2.EVENT_TYPE_COMMAND_EXPIRED, command=command(command_id="c2", line="play_hand", reason="age"))
    yield made("unreadable_body", "bytes that no parser can read", base_pb2.EVENT_TYPE_UNREADABLE_BODY, unreadable=unreadable(raw=b'{"a":["b"c"]}\xff\x00', error="expected , or ] at byte 8", length=15, offset=0, path="/api/v1/events/batch"))
    yield made("truncated_body", "a body past the limit", base_pb2.EVENT_TYPE_TRUNCATED_BODY, unreadable=unreadable(raw=bytes(range(256)), error="longer than 8388608 bytes", length=9_000_000, events_kept=812))


def of_other_versions() -> Iterator[Vector]:
    """What a newer and an older program wrote."""
    event = base_pb2.Event(log_epoch=1, sequence=2, type=base_pb2.EVENT_TYPE_MONEY_CHANGED)
    event.money_changed.new_value = 7
    newer = base_pb2.EventBatch(events=[event])
    # Field 1000, text "new": in the event's payload, in the event, in the batch.
    unknown = bytes.fromhex("c23e036e6577")
    payload = event.money_changed.SerializeToString() + unknown
    inner = base_pb2.Event(log_epoch=1, sequence=2, type=base_pb2.EVENT_TYPE_MONEY_CHANGED).SerializeToString()
    inner += bytes.fromhex("ca02") + bytes([len(payload)]) + payload + unknown
    yield Vector("newer_fields", "fields from a newer schema, at every level: passed over", batch=base_pb2.EventBatch(), appended=b"\x0a" + bytes([len(inner)]) + inner + unknown)
    newer.events[0].ClearField("payload")
    newer.events[0].type = 999
    yield Vector("newer_type", "an event type from a newer schema: its number stays", batch=newer)
    # Priority 9 and a payload in a field that is not known: the event has no payload then.
    inner = base_pb2.Event(log_epoch=1, sequence=3, type=998, priority=options_pb2.PRIORITY_HIGH).SerializeToString() + bytes.fromhex("5809") + bytes.fromhex("ba3e020801")
    yield Vector("newer_payload", "a payload and an enum value from a newer schema", batch=base_pb2.EventBatch(), appended=b"\x0a" + bytes([len(inner)]) + inner)
    bare = base_pb2.Event(log_epoch=1, sequence=4, type=base_pb2.EVENT_TYPE_GAME_STATE)
    bare.game_state.base.ante = 1
    yield Vector("older_fields", "an older program's event: most fields are missing", batch=base_pb2.EventBatch(events=[bare]))
    yield Vector("empty_batch", "nothing at all", batch=base_pb2.EventBatch())
    # base in two parts, as a converter in one pass writes what stands in two places of the JSON text.
    first = base_pb2.Event(log_epoch=1, sequence=5, type=base_pb2.EVENT_TYPE_GAME_STATE)
    one, two = balatro_events_pb2.BalatroGameStateEvent(), balatro_events_pb2.BalatroGameStateEvent()
    one.base.ante, two.base.money = 3, 9
    payload = one.SerializeToString() + two.SerializeToString()
    inner = first.SerializeToString() + b"\x62" + bytes([len(payload)]) + payload
    yield Vector("message_in_parts", "a message in two parts, which every parser joins", batch=base_pb2.EventBatch(), appended=b"\x0a" + bytes([len(inner)]) + inner)


def all_vectors() -> list[Vector]:
    """Every vector, by name."""
    found = [*of_the_mod(), *of_older_clients(), *odd_ones(), *of_the_service(), *of_other_versions()]
    names = [vector.name for vector in found]
    assert len(set(names)) == len(names), "two vectors of one name"
    return sorted(found, key=lambda vector: vector.name)
