package jimbotclients_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	eventsv1 "github.com/jimbot/jimbot-mcp/clients/go/jimbot/events/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// vectorsDir is found from the folder of the sources, wherever the tests run.
func vectorsDir(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("JIMBOT_VECTORS"); dir != "" {
		return dir
	}
	return filepath.Join("..", "..", "tests", "vectors")
}

// Every golden vector says what its canonical JSON says, and the message read from that JSON says the same.
func TestVectors(t *testing.T) {
	dir := vectorsDir(t)
	manifest, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct{ Name, About string }
	if err := json.Unmarshal(manifest, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) < 90 {
		t.Fatalf("only %d vectors", len(vectors))
	}
	for _, vector := range vectors {
		vector := vector
		t.Run(vector.Name, func(t *testing.T) {
			path := filepath.Join(dir, vector.Name)
			bytes, err := os.ReadFile(path + ".binpb")
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(path + ".expected.json")
			if err != nil {
				t.Fatal(err)
			}
			var batch, again eventsv1.EventBatch
			if err := proto.Unmarshal(bytes, &batch); err != nil {
				t.Fatal(err)
			}
			if err := protojson.Unmarshal(text, &again); err != nil {
				t.Fatal(err)
			}
			var expected any
			if err := json.Unmarshal(text, &expected); err != nil {
				t.Fatal(err)
			}
			for what, message := range map[string]*eventsv1.EventBatch{"bytes": &batch, "canonical JSON": &again} {
				if found := asJSON(t, message); !reflect.DeepEqual(found, expected) {
					t.Errorf("%s: %s\nthe %s say %v\nexpected %v", vector.Name, vector.About, what, found, expected)
				}
			}
			// What this schema does not know is passed on.
			passedOn, err := proto.Marshal(&batch)
			if err != nil {
				t.Fatal(err)
			}
			var back eventsv1.EventBatch
			if err := proto.Unmarshal(passedOn, &back); err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(&batch, &back) {
				t.Errorf("%s: not the same after it was passed on", vector.Name)
			}
		})
	}
}

func asJSON(t *testing.T, message proto.Message) any {
	t.Helper()
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	var found any
	if err := json.Unmarshal(text, &found); err != nil {
		t.Fatal(err)
	}
	return found
}
