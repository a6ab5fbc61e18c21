package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/live"
)

// order is a message of the client of a WebSocket.
type order struct {
	// Type is subscribe, unsubscribe or ping.
	Type string `json:"type"`
	// ID is the client's name for a subscription; answers and events repeat it.
	ID string `json:"id"`
	// Videos or All say whose events are wanted: one of the two.
	Videos []string `json:"videos"`
	All    bool     `json:"all"`
	// Types are the types of events that are wanted; all when empty. job.progress counts for Videos only.
	Types []string `json:"types"`
	// After is the sequence after which events are wanted; from now on when left out, all when 0.
	After *uint64 `json:"after"`

	options live.Options
	err     error // what is wrong with it
}

// Messages of the server.
type (
	socketAnswer struct {
		Type     string  `json:"type"` // subscribed, unsubscribed, pong or error
		ID       string  `json:"id,omitempty"`
		Position *uint64 `json:"position,omitempty"` // where a subscription begins: resume after it before the first event
		Code     code    `json:"code,omitempty"`
		Title    string  `json:"title,omitempty"`
		Detail   string  `json:"detail,omitempty"`
		Remedy   string  `json:"remedy,omitempty"`
	}
	socketEvent struct {
		Type     string          `json:"type"` // event
		ID       string          `json:"id"`
		Sequence uint64          `json:"sequence"`
		Event    json.RawMessage `json:"event"`
	}
	socketProgress struct {
		Type     string             `json:"type"` // progress
		ID       string             `json:"id"`
		Progress *pipeline.Progress `json:"progress"`
	}
)

// encodeMessage encodes a message of the server.
func encodeMessage(v any) ([]byte, error) { return json.Marshal(v) }

// maxSocketID is how many characters a client's name for a subscription may have.
const maxSocketID = 64

// readOrder reads a message, and checks all that can be checked without the state of the connection.
func readOrder(raw []byte) order {
	var o order
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	err := d.Decode(&o)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("there is more than one value")
		}
	}
	if err != nil {
		return order{err: failAt("/message", codeInvalid, "The message is not what was expected: %.200s.",
			printable(err.Error()))}
	}
	o.err = o.check()
	return o
}

func (o *order) check() (err error) {
	switch {
	case len(o.ID) > maxSocketID:
		o.ID = ""
		return failAt("/message/id", codeInvalid, "The id has more than %d characters.", maxSocketID)
	case o.Type == "ping":
		return nil
	case o.Type != "subscribe" && o.Type != "unsubscribe":
		return failAt("/message/type", codeInvalid, "%s.",
			sentence(pipeline.Unknown("type of message", printable(o.Type),
				[]string{"ping", "subscribe", "unsubscribe"})))
	case o.ID == "":
		return failAt("/message/id", codeInvalid, "The id is missing; choose a name for the subscription.")
	case o.Type == "unsubscribe":
		return nil
	case o.All == (len(o.Videos) > 0):
		return failAt("/message/videos", codeInvalid, "Say either \"all\": true, or \"videos\" with a list of ids.")
	}
	if o.options.Videos, err = eventVideos("/message/videos", o.Videos); err != nil {
		return err
	}
	var types []string
	for _, name := range o.Types {
		if name == progressEvent {
			o.options.Progress = true
		} else {
			types = append(types, name)
		}
	}
	if len(o.Types) == 0 {
		o.options.Progress = true
	} else if len(types) == 0 {
		return failAt("/message/types", codeInvalid, "Name a type of event besides %s.", progressEvent)
	}
	o.options.After = o.After
	o.options.Types, err = eventTypes("/message/types", types)
	return err
}
