// A server on the centrifuge library, with its Redis broker and presence: `centrifuge -port PORT -redis HOST:PORT`.
//
// Everybody may connect, subscribe and publish; history, its age, presence and recovery as the bench's Flotilla has
// them. With `-lines PORT` it serves no clients: it publishes each line that it reads there into `-channel`.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"

	"github.com/centrifugal/centrifuge"
)

var (
	port    = flag.Int("port", 0, "where clients connect")
	lines   = flag.Int("lines", 0, "where lines to publish are read")
	channel = flag.String("channel", "", "of the lines")
	redis   = flag.String("redis", "", "address of Redis")
	size    = flag.Int("history-size", 0, "publications kept in a channel")
	key     = flag.String("key", "", "of the certificate, for TLS")
	chain   = flag.String("chain", "", "the certificate")
	ttl     = flag.Duration("history-ttl", 0, "how long they are kept")
)

func main() {
	flag.Parse()
	node, err := centrifuge.New(centrifuge.Config{
		LogLevel:   centrifuge.LogLevelWarn,
		LogHandler: func(entry centrifuge.LogEntry) { log.Println(entry.Message, entry.Fields) },
	})
	must(err)
	shard, err := centrifuge.NewRedisShard(node, centrifuge.RedisShardConfig{Address: *redis})
	must(err)
	shards := []*centrifuge.RedisShard{shard}
	broker, err := centrifuge.NewRedisBroker(node, centrifuge.RedisBrokerConfig{Shards: shards})
	must(err)
	node.SetBroker(broker)
	presence, err := centrifuge.NewRedisPresenceManager(node, centrifuge.RedisPresenceManagerConfig{Shards: shards})
	must(err)
	node.SetPresenceManager(presence)
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{}}, nil
	})
	node.OnConnect(serve)
	must(node.Run())
	if *lines != 0 {
		publishLines(node)
		return
	}
	http.Handle("/connection/websocket", centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{}))
	api(node)
	if *key != "" {
		log.Fatal(http.ListenAndServeTLS(fmt.Sprintf("127.0.0.1:%d", *port), *chain, *key, nil))
	}
	log.Fatal(http.ListenAndServe(fmt.Sprintf("127.0.0.1:%d", *port), nil))
}

// serve answers what a client asks for.
func serve(client *centrifuge.Client) {
	client.OnSubscribe(func(event centrifuge.SubscribeEvent, answer centrifuge.SubscribeCallback) {
		announced := strings.HasPrefix(event.Channel, "hall:")
		answer(centrifuge.SubscribeReply{Options: centrifuge.SubscribeOptions{
			EmitPresence:   true,
			EnableRecovery: true,
			EmitJoinLeave:  announced,
			PushJoinLeave:  announced && event.JoinLeave,
		}}, nil)
	})
	client.OnPublish(func(event centrifuge.PublishEvent, answer centrifuge.PublishCallback) {
		answer(centrifuge.PublishReply{Options: centrifuge.PublishOptions{
			HistorySize: *size, HistoryTTL: *ttl, ClientInfo: event.ClientInfo,
		}}, nil)
	})
}

// publishLines publishes what comes over one connection after the other.
func publishLines(node *centrifuge.Node) {
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *lines))
	must(err)
	for {
		connection, err := listener.Accept()
		must(err)
		scanner := bufio.NewScanner(connection)
		for scanner.Scan() {
			_, err := node.Publish(*channel, []byte(scanner.Text()), centrifuge.WithHistory(*size, *ttl))
			must(err)
		}
	}
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
