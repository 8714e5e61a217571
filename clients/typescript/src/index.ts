// Everything in the package jimbot.events.v1, and the Resource Coordinator (package jimbot) as `coordinator`.
export * from "./gen/jimbot/events/v1/actions_pb.js";
export * from "./gen/jimbot/events/v1/balatro_events_pb.js";
export * from "./gen/jimbot/events/v1/balatro_objects_pb.js";
export * from "./gen/jimbot/events/v1/base_pb.js";
export * from "./gen/jimbot/events/v1/event_bus_pb.js";
export * from "./gen/jimbot/events/v1/game_state_pb.js";
export * from "./gen/jimbot/events/v1/options_pb.js";
export * as coordinator from "./gen/jimbot/resource_coordinator_pb.js";
