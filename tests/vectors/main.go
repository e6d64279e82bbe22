// Frames of the protocol in Protobuf, written by the marshaller of its own Go module: `go run . > protobuf.jsonl`.
//
// One line of output is one message: its name, whether a client sends it ("command") or a server ("reply"), its bytes in
// hex, and what it means, as JSON with payloads as text. "frames" are several, each behind its length.
package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"

	p "github.com/centrifugal/protocol"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

const longest = ^uint64(0)

var info = &p.ClientInfo{User: "42", Client: "9f32a1b2", ConnInfo: []byte(`{"name":"Zoë"}`), ChanInfo: []byte(`[1, 2]`)}

var publication = &p.Publication{
	Data: []byte(`{"text": "hi"}`), Info: info, Offset: 7, Tags: map[string]string{"kind": "chat"},
}

var commands = []struct {
	name    string
	command *p.Command
}{
	{"pong", &p.Command{}},
	{"connect, empty", &p.Command{Id: 1, Connect: &p.ConnectRequest{}}},
	{"connect", &p.Command{Id: 1, Connect: &p.ConnectRequest{
		Token: "a.b.c", Data: []byte(`{"a":1}`), Name: "go", Version: "1.0", Headers: map[string]string{"x-a": "ü"},
		Subs: map[string]*p.SubscribeRequest{"#42": {Recover: true, Epoch: "e1", Offset: 5}},
	}}},
	{"subscribe", &p.Command{Id: 2, Subscribe: &p.SubscribeRequest{
		Channel: "room:1", Token: "t", Recover: true, Epoch: "e", Offset: longest, Data: []byte(`"d"`), Positioned: true,
		Recoverable: true, JoinLeave: true, Delta: "fossil", Flag: 3,
	}}},
	{"subscribe, filtered", &p.Command{Id: 3, Subscribe: &p.SubscribeRequest{Channel: "room:1", Tf: &p.FilterNode{
		Op: "and", Nodes: []*p.FilterNode{
			{Key: "kind", Cmp: "eq", Val: "chat"},
			{Op: "not", Nodes: []*p.FilterNode{{Key: "size", Cmp: "in", Vals: []string{"s", "m"}}}},
		},
	}}}},
	{"unsubscribe", &p.Command{Id: 4, Unsubscribe: &p.UnsubscribeRequest{Channel: "room:1"}}},
	{"publish", &p.Command{Id: 5, Publish: &p.PublishRequest{Channel: "room:1", Data: []byte("{\n \"hi\": 1 }")}}},
	{"publish, binary", &p.Command{Id: 128, Publish: &p.PublishRequest{Channel: "raw:ü", Data: []byte{0, 255, 10, 13}}}},
	{"presence", &p.Command{Id: 6, Presence: &p.PresenceRequest{Channel: "room:1"}}},
	{"presence_stats", &p.Command{Id: 7, PresenceStats: &p.PresenceStatsRequest{Channel: "room:1"}}},
	{"history", &p.Command{Id: 8, History: &p.HistoryRequest{Channel: "room:1", Limit: -1, Reverse: true,
		Since: &p.StreamPosition{Offset: 9, Epoch: "e"}}}},
	{"history, position alone", &p.Command{Id: 9, History: &p.HistoryRequest{Channel: "room:1"}}},
	{"ping", &p.Command{Id: 10, Ping: &p.PingRequest{}}},
	{"send", &p.Command{Send: &p.SendRequest{Data: []byte(`{"a":null}`)}}},
	{"rpc", &p.Command{Id: 11, Rpc: &p.RPCRequest{Method: "add", Data: []byte(`[1,2]`)}}},
	{"refresh", &p.Command{Id: 12, Refresh: &p.RefreshRequest{Token: "a.b.c"}}},
	{"sub_refresh", &p.Command{Id: 4294967295, SubRefresh: &p.SubRefreshRequest{Channel: "room:1", Token: "t"}}},
}

var replies = []struct {
	name  string
	reply *p.Reply
}{
	{"ping", &p.Reply{}},
	{"error", &p.Reply{Id: 1, Error: &p.Error{Code: 100, Message: "internal server error", Temporary: true}}},
	{"connect", &p.Reply{Id: 1, Connect: &p.ConnectResult{
		Client: "c", Version: "1", Expires: true, Ttl: 300, Data: []byte(`{"a":1}`), Ping: 25, Pong: true,
		Subs: map[string]*p.SubscribeResult{"#42": {Recoverable: true, Positioned: true, Epoch: "e", Offset: 3,
			WasRecovering: true, Recovered: true, Publications: []*p.Publication{publication}}},
	}}},
	{"connect, emulated", &p.Reply{Id: 1, Connect: &p.ConnectResult{Client: "c", Version: "1", Session: "s", Node: "n"}}},
	{"subscribe", &p.Reply{Id: 2, Subscribe: &p.SubscribeResult{
		Expires: true, Ttl: 60, Recoverable: true, Positioned: true, Epoch: "e", Offset: longest, Data: []byte(`"x"`),
		WasRecovering: true, Recovered: true, Publications: []*p.Publication{publication, {Data: []byte("1"), Offset: 8}},
	}}},
	{"subscribe, empty", &p.Reply{Id: 2, Subscribe: &p.SubscribeResult{}}},
	{"unsubscribe", &p.Reply{Id: 3, Unsubscribe: &p.UnsubscribeResult{}}},
	{"publish", &p.Reply{Id: 300, Publish: &p.PublishResult{}}},
	{"presence", &p.Reply{Id: 5, Presence: &p.PresenceResult{Presence: map[string]*p.ClientInfo{"9f32a1b2": info}}}},
	{"presence, nobody", &p.Reply{Id: 5, Presence: &p.PresenceResult{}}},
	{"presence_stats", &p.Reply{Id: 6, PresenceStats: &p.PresenceStatsResult{NumClients: 3, NumUsers: 2}}},
	{"history", &p.Reply{Id: 7, History: &p.HistoryResult{
		Publications: []*p.Publication{publication}, Epoch: "e", Offset: 7}}},
	{"rpc", &p.Reply{Id: 8, Rpc: &p.RPCResult{Data: []byte(`{"sum":3}`)}}},
	{"refresh", &p.Reply{Id: 9, Refresh: &p.RefreshResult{Client: "c", Version: "1", Expires: true, Ttl: 60}}},
	{"sub_refresh", &p.Reply{Id: 10, SubRefresh: &p.SubRefreshResult{Expires: true, Ttl: 60}}},
	{"pub", push(&p.Push{Channel: "room:1", Pub: publication})},
	{"pub, without history", push(&p.Push{Channel: "room:ü", Pub: &p.Publication{Data: []byte(`"x"`)}})},
	{"pub, binary", push(&p.Push{Channel: "raw:1", Pub: &p.Publication{Data: []byte{0, 255, 10}, Offset: 1 << 40}})},
	{"join", push(&p.Push{Channel: "room:1", Join: &p.Join{Info: info}})},
	{"leave", push(&p.Push{Channel: "room:1", Leave: &p.Leave{Info: &p.ClientInfo{Client: "c"}}})},
	{"unsubscribe push", push(&p.Push{Channel: "room:1", Unsubscribe: &p.Unsubscribe{Code: 2500, Reason: "insufficient state"}})},
	{"subscribe push", push(&p.Push{Channel: "room:1", Subscribe: &p.Subscribe{
		Recoverable: true, Epoch: "e", Offset: 4, Positioned: true, Data: []byte(`{"a":1}`)}})},
	{"message", push(&p.Push{Message: &p.Message{Data: []byte(`{"a":1}`)}})},
	{"disconnect", push(&p.Push{Disconnect: &p.Disconnect{Code: 3001, Reason: "shutdown"}})},
}

func push(one *p.Push) *p.Reply { return &p.Reply{Push: one} }

type vector struct {
	Name string          `json:"name"`
	Kind string          `json:"kind"`
	Hex  string          `json:"hex"`
	Says json.RawMessage `json:"says,omitempty"`
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func write(one vector) {
	line, err := json.Marshal(one)
	must(err)
	fmt.Println(string(line))
}

func says(message proto.Message) json.RawMessage {
	said, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(message)
	must(err)
	return said
}

func frame(kind, name string, encode func() ([]byte, error)) {
	framed, err := encode()
	must(err)
	write(vector{Name: name, Kind: kind, Hex: hex.EncodeToString(framed)})
}

func main() {
	var all p.DataEncoder = p.NewProtobufDataEncoder()
	var asked [][]byte
	for _, one := range commands {
		encoded, err := one.command.MarshalCF()
		must(err)
		asked = append(asked, encoded)
		write(vector{one.name, "command", hex.EncodeToString(encoded), says(one.command)})
	}
	for _, one := range replies {
		encoded, err := p.NewProtobufReplyEncoder().Encode(one.reply)
		must(err)
		must(all.Encode(encoded))
		write(vector{one.name, "reply", hex.EncodeToString(encoded), says(one.reply)})
	}
	frame("commands", "all commands in one frame", func() ([]byte, error) {
		encoder := p.NewProtobufDataEncoder()
		for _, one := range asked {
			must(encoder.Encode(one))
		}
		return encoder.Finish(), nil
	})
	frame("replies", "all replies in one frame", func() ([]byte, error) { return all.Finish(), nil })
	os.Stdout.Sync()
}
