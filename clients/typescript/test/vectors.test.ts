// Every golden vector says what its canonical JSON says, and the message read from that JSON is the same message.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fromBinary, fromJsonString, toBinary, toJson } from "@bufbuild/protobuf";
import type { JsonValue } from "@bufbuild/protobuf";
import { EventBatchSchema } from "../src/index.js";

// Compiled, this file is dist/test/vectors.test.js.
const vectors = new URL("../../../../tests/vectors/", import.meta.url);

interface Vector {
  name: string;
  about: string;
}

const manifest = JSON.parse(readFileSync(new URL("manifest.json", vectors), "utf8")) as Vector[];
assert.ok(manifest.length >= 90);

for (const { name, about } of manifest) {
  test(`${name}: ${about}`, () => {
    const bytes = new Uint8Array(readFileSync(new URL(`${name}.binpb`, vectors)));
    const text = readFileSync(new URL(`${name}.expected.json`, vectors), "utf8");
    const batch = fromBinary(EventBatchSchema, bytes);
    const json = toJson(EventBatchSchema, batch, { useProtoFieldName: true });
    assert.deepEqual(json, JSON.parse(text) as JsonValue);
    // What this schema does not know is passed on.
    const passedOn = fromBinary(EventBatchSchema, toBinary(EventBatchSchema, batch));
    assert.deepStrictEqual(passedOn, batch);
    const again = fromJsonString(EventBatchSchema, text);
    assert.deepEqual(toJson(EventBatchSchema, again, { useProtoFieldName: true }), json);
  });
}
