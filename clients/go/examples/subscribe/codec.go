package main

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/protobuf/proto"
)

// codec is what grpc has built in from 1.36 on, where this file is not needed; an older one, such as Debian's, knows only
// the old message interface.
type codec struct{}

func (codec) Name() string                        { return "proto" }
func (codec) Marshal(message any) ([]byte, error) { return proto.Marshal(message.(proto.Message)) }
func (codec) Unmarshal(data []byte, into any) error {
	return proto.Unmarshal(data, into.(proto.Message))
}

func init() { encoding.RegisterCodec(codec{}) }
