// Subscribe reads the Event Bus, publishes an event, and prints what comes: position, type, id.
//
//	go run ./examples/subscribe [-bus 127.0.0.1:50051] [-topic 'game.>'] [-publish ID] [-count N]
package main

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"io"
	"os"

	eventsv1 "github.com/jimbot/jimbot-mcp/clients/go/jimbot/events/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

func main() {
	address := flag.String("bus", "127.0.0.1:50051", "`HOST:PORT` of the bus")
	topic := flag.String("topic", "game.>", "`pattern` of the topics that are wanted")
	id := flag.String("publish", "", "publish an event with this `id` when the subscription stands")
	count := flag.Int("count", 0, "end after so many events; 0 goes on")
	flag.Parse()
	if err := run(*address, *topic, *id, *count); err != nil {
		fmt.Fprintf(os.Stderr, "error: the bus at %s: %v\n", *address, err)
		os.Exit(1)
	}
}

func run(address, topic, id string, count int) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	connection, err := grpc.DialContext(ctx, address, grpc.WithInsecure())
	if err != nil {
		return err
	}
	defer connection.Close()
	bus := eventsv1.NewEventBusClient(connection)

	stream, err := bus.Subscribe(ctx)
	if err != nil {
		return err
	}
	// The first message says what is wanted. A durable would acknowledge with further ones.
	start := &eventsv1.SubscribeStart{
		Filter: &eventsv1.EventFilter{Topics: []string{topic}},
		Start:  &eventsv1.StartPosition{Start: &eventsv1.StartPosition_Latest_{Latest: &eventsv1.StartPosition_Latest{}}},
	}
	request := &eventsv1.SubscribeRequest{Request: &eventsv1.SubscribeRequest_Start{Start: start}}
	// Why a stream that ended did so is told by Recv.
	if err := stream.Send(request); err != nil && err != io.EOF {
		return err
	}
	for seen := 0; ; {
		message, err := stream.Recv()
		if err != nil {
			return err
		}
		switch told := message.Response.(type) {
		case *eventsv1.SubscribeResponse_Subscribed:
			// It stands: nothing that is stored from now on is missed.
			fmt.Fprintf(os.Stderr, "subscribed to %s from position %d\n", topic, told.Subscribed.StartPosition)
			if id != "" {
				if err := publish(ctx, bus, id); err != nil {
					return err
				}
			}
		case *eventsv1.SubscribeResponse_Gap:
			fmt.Fprintf(os.Stderr, "missed positions %d to %d\n", told.Gap.FirstPosition, told.Gap.LastPosition)
		case *eventsv1.SubscribeResponse_Delivery:
			for at, event := range told.Delivery.Batch.GetEvents() {
				fmt.Println(told.Delivery.Positions[at], event.Type, event.GetEventId())
				if seen++; seen == count {
					return nil
				}
			}
		}
	}
}

func publish(ctx context.Context, bus eventsv1.EventBusClient, id string) error {
	name := make([]byte, 8)
	if _, err := rand.Read(name); err != nil {
		return err
	}
	// A producer numbers its events: the bus stores each number once, however often it is sent.
	event := &eventsv1.Event{
		Type:             eventsv1.EventType_EVENT_TYPE_HAND_PLAYED,
		EventId:          proto.String(id),
		Producer:         proto.String(fmt.Sprintf("go-%x", name)),
		ProducerSequence: proto.Uint64(1),
	}
	answer, err := bus.PublishEvent(ctx, &eventsv1.PublishEventRequest{Event: event})
	if err == nil {
		fmt.Fprintf(os.Stderr, "published at position %d\n", answer.Result.FirstPosition)
	}
	return err
}
