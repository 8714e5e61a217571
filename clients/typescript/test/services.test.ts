// The service descriptors are whole, and the numbers that other programs rely on are as agreed.
import assert from "node:assert/strict";
import { test } from "node:test";
import { create, getOption, toBinary } from "@bufbuild/protobuf";
import {
  BalatroGameStateEventSchema,
  coordinator,
  event as eventOption,
  EventBus,
  EventType,
  EventTypeSchema,
} from "../src/index.js";

test("the Event Bus has its methods", () => {
  assert.deepEqual(
    EventBus.methods.map((method) => [method.name, method.methodKind]),
    [
      ["PublishEvent", "unary"],
      ["PublishBatch", "unary"],
      ["Publish", "bidi_streaming"],
      ["Subscribe", "bidi_streaming"],
      ["GetHistory", "server_streaming"],
      ["LastSequence", "unary"],
      ["ListDurables", "unary"],
      ["DeleteDurable", "unary"],
    ],
  );
});

test("the Resource Coordinator is the one in the field", () => {
  assert.equal(coordinator.ResourceCoordinator.typeName, "jimbot.ResourceCoordinator");
  const request = create(coordinator.ResourceRequestSchema, { requestId: "r", quantity: 2 });
  assert.deepEqual([...toBinary(coordinator.ResourceRequestSchema, request)], [10, 1, 114, 32, 2]);
});

test("the state keeps the numbers of the older service", () => {
  const { base, triggers, cascadeInfo } = BalatroGameStateEventSchema.field;
  assert.deepEqual([base?.number, triggers?.number, cascadeInfo?.number], [1, 2, 3]);
});

test("the options say under which topic a type is published", () => {
  const played = EventTypeSchema.value[EventType.HAND_PLAYED];
  assert.ok(played);
  assert.equal(getOption(played, eventOption).topic, "game.hand.played");
});
