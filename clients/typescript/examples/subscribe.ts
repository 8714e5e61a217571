// Subscribes to the Event Bus, publishes an event, and prints what comes: position, type, id.
//
//   node dist/examples/subscribe.js [--bus http://127.0.0.1:50051] [--topic 'game.>'] [--publish ID] [--count N]
import { parseArgs } from "node:util";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { EventBus, EventSchema, EventType, SubscribeRequestSchema, type SubscribeRequest } from "../src/index.js";

const { values: wanted } = parseArgs({
  options: {
    bus: { type: "string", default: "http://127.0.0.1:50051" },
    topic: { type: "string", default: "game.>" },
    publish: { type: "string" },
    count: { type: "string" },
  },
});
const bus = createClient(EventBus, createGrpcTransport({ baseUrl: wanted.bus }));
const end = new AbortController();

// What a subscriber says. This one begins at the latest event and says nothing more; a durable would acknowledge here.
async function* requests(): AsyncGenerator<SubscribeRequest> {
  yield create(SubscribeRequestSchema, {
    request: {
      case: "start",
      value: { filter: { topics: [wanted.topic] }, start: { start: { case: "latest", value: {} } } },
    },
  });
  // Closing this side would end the subscription.
  await new Promise((resolve) => end.signal.addEventListener("abort", resolve));
}

async function publish(id: string): Promise<void> {
  // A producer numbers its events: the bus stores each number once, however often it is sent.
  const producer = `typescript-${crypto.randomUUID()}`;
  const event = create(EventSchema, { type: EventType.HAND_PLAYED, eventId: id, producer, producerSequence: 1n });
  const { result } = await bus.publishEvent({ event });
  console.error(`published at position ${result?.firstPosition}`);
}

let left = wanted.count === undefined ? Infinity : Number(wanted.count);
try {
  for await (const { response } of bus.subscribe(requests(), { signal: end.signal })) {
    if (response.case === "subscribed") {
      // It stands: nothing that is stored from now on is missed.
      console.error(`subscribed to ${wanted.topic} from position ${response.value.startPosition}`);
      if (wanted.publish !== undefined) await publish(wanted.publish);
    } else if (response.case === "gap") {
      console.error(`missed positions ${response.value.firstPosition} to ${response.value.lastPosition}`);
    } else if (response.case === "delivery") {
      const { batch, positions } = response.value;
      for (const [at, event] of (batch?.events ?? []).entries()) {
        console.log(`${positions[at]} ${EventType[event.type]} ${event.eventId ?? ""}`);
        if (--left <= 0) end.abort();
      }
    }
  }
} catch (error) {
  // What was asked for came, and the call was ended here.
  if (!end.signal.aborted) {
    const reason = ConnectError.from(error);
    console.error(`error: the bus at ${wanted.bus} says ${Code[reason.code]}: ${reason.rawMessage}`);
    process.exitCode = 1;
  }
}
