package jimbotclients_test

import (
	"context"
	"net"
	"testing"
	"time"

	jimbotclients "github.com/jimbot/jimbot-mcp/clients/go"
	"github.com/jimbot/jimbot-mcp/clients/go/jimbot"
	eventsv1 "github.com/jimbot/jimbot-mcp/clients/go/jimbot/events/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// codec is what a newer grpc has built in; the one that Debian ships knows only the old message interface.
type codec struct{}

func (codec) Name() string                        { return "proto" }
func (codec) Marshal(message any) ([]byte, error) { return proto.Marshal(message.(proto.Message)) }
func (codec) Unmarshal(data []byte, into any) error {
	return proto.Unmarshal(data, into.(proto.Message))
}

func init() { encoding.RegisterCodec(codec{}) }

type coordinator struct {
	jimbot.UnimplementedResourceCoordinatorServer
}

func (coordinator) RequestResource(_ context.Context, request *jimbot.ResourceRequest) (*jimbot.ResourceResponse, error) {
	return &jimbot.ResourceResponse{
		RequestId:       request.RequestId,
		Status:          jimbot.RequestStatus_REQUEST_STATUS_GRANTED,
		GrantedQuantity: request.Quantity,
	}, nil
}

// The stubs of both sides speak to each other.
func TestAStubCallsAServer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	jimbot.RegisterResourceCoordinatorServer(server, coordinator{})
	go server.Serve(listener)
	defer server.Stop()

	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	connection, err := grpc.DialContext(ctx, listener.Addr().String(), grpc.WithInsecure(), grpc.WithBlock())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	answer, err := jimbot.NewResourceCoordinatorClient(connection).RequestResource(ctx, &jimbot.ResourceRequest{
		RequestId: "r-1", Resource: jimbot.ResourceType_RESOURCE_TYPE_GPU, Quantity: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	if answer.RequestId != "r-1" || answer.GrantedQuantity != 2 {
		t.Errorf("unexpected answer: %v", answer)
	}
}

func TestNumbersThatOtherProgramsRelyOn(t *testing.T) {
	fields := (&eventsv1.BalatroGameStateEvent{}).ProtoReflect().Descriptor().Fields()
	for name, number := range map[protoreflect.Name]protoreflect.FieldNumber{"base": 1, "triggers": 2, "cascade_info": 3} {
		if found := fields.ByName(name).Number(); found != number {
			t.Errorf("BalatroGameStateEvent.%s has number %d instead of %d", name, found, number)
		}
	}
	played := eventsv1.EventType_EVENT_TYPE_HAND_PLAYED.Descriptor().Values().ByName("EVENT_TYPE_HAND_PLAYED")
	if topic := proto.GetExtension(played.Options(), eventsv1.E_Event).(*eventsv1.EventSpec).Topic; topic != "game.hand.played" {
		t.Errorf("topic %q", topic)
	}
	if jimbotclients.Version == "" {
		t.Error("no version")
	}
}
