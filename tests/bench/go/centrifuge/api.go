package main

import (
	"encoding/json"
	"log"
	"net/http"

	"github.com/centrifugal/centrifuge"
)

// The server HTTP API, as far as the bench asks for it.

type published struct {
	Channel string          `json:"channel"`
	Data    json.RawMessage `json:"data"`
}

type batch struct {
	Commands []struct {
		Publish published `json:"publish"`
	} `json:"commands"`
}

type position struct {
	Offset uint64 `json:"offset"`
	Epoch  string `json:"epoch"`
}

func api(node *centrifuge.Node) {
	method("/api/publish", func(asked published) (any, error) {
		done, err := publish(node, asked)
		return map[string]any{"result": done}, err
	})
	method("/api/batch", func(asked batch) (any, error) {
		replies := make([]map[string]position, 0, len(asked.Commands))
		for _, command := range asked.Commands {
			done, err := publish(node, command.Publish)
			if err != nil {
				return nil, err
			}
			replies = append(replies, map[string]position{"publish": done})
		}
		return map[string]any{"replies": replies}, nil
	})
	method("/api/presence", func(asked published) (any, error) {
		found, err := node.Presence(asked.Channel)
		return map[string]any{"result": map[string]any{"presence": found.Presence}}, err
	})
	method("/api/presence_stats", func(asked published) (any, error) {
		found, err := node.PresenceStats(asked.Channel)
		return map[string]any{"result": map[string]any{"num_clients": found.NumClients, "num_users": found.NumUsers}}, err
	})
}

func publish(node *centrifuge.Node, asked published) (position, error) {
	done, err := node.Publish(asked.Channel, asked.Data, centrifuge.WithHistory(*size, *ttl))
	return position{done.Offset, done.Epoch}, err
}

// method serves one method: its parameters are JSON, and so is its answer. An error is status 500, which the bench counts.
func method[T any](path string, run func(T) (any, error)) {
	http.HandleFunc(path, func(answer http.ResponseWriter, request *http.Request) {
		var asked T
		found, err := any(nil), json.NewDecoder(request.Body).Decode(&asked)
		if err == nil {
			found, err = run(asked)
		}
		if err != nil {
			log.Println(path, err)
			http.Error(answer, err.Error(), http.StatusInternalServerError)
			return
		}
		answer.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(answer).Encode(found); err != nil {
			log.Println(path, err)
		}
	})
}
