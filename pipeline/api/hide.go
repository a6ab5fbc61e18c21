package api

import (
	"encoding/json"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/secret"
)

// An upload may name a webhook, or a source to fetch, whose path or parameters are a token. The event log and
// the queue need all of it, to deliver and to fetch. Answers say only where it leads.

// shownEvents returns events as they are answered.
func shownEvents(events []pipeline.Event) []pipeline.Event {
	shown := make([]pipeline.Event, len(events))
	for i, e := range events {
		shown[i] = shownEvent(e)
	}
	return shown
}

// shownEvent returns an event as it is answered.
func shownEvent(e pipeline.Event) pipeline.Event {
	switch e.Type {
	case pipeline.VideoUploaded:
		e.Data = hideURL(hideURL(e.Data, "webhook"), "fetch")
	case pipeline.KeyCreated:
		e.Data = withoutHash(e.Data)
	}
	return e
}

// shownTask returns a task as it is answered.
func shownTask(t pipeline.Task) pipeline.Task {
	if t.Job.Worker == pipeline.NotifyWorker || t.Job.Worker == pipeline.FetchStep {
		t.Job.Part = hideURL(t.Job.Part)
	}
	return t
}

// hideURL returns a JSON object with only the place of the address called url, which is in the object itself
// or in the one called within. It returns a document without such an address as it is.
func hideURL(doc json.RawMessage, within ...string) json.RawMessage {
	var fields map[string]json.RawMessage
	if json.Unmarshal(doc, &fields) != nil {
		return doc
	}
	changed := json.RawMessage(nil)
	name := "url"
	if len(within) > 0 {
		name = within[0]
		changed = hideURL(fields[name], within[1:]...)
	} else if address := ""; json.Unmarshal(fields[name], &address) == nil && address != "" {
		changed, _ = json.Marshal(secret.Place(address)) // a text always has JSON
	}
	if changed == nil || string(changed) == string(fields[name]) {
		return doc
	}
	fields[name] = changed
	shown, err := json.Marshal(fields)
	if err != nil {
		return nil // rather nothing than the token; parts of a document always have JSON
	}
	return shown
}

// withoutHash returns the data of key.created without the hash of the secret, which is of use to nobody.
func withoutHash(doc json.RawMessage) json.RawMessage {
	var data access.KeyData
	if json.Unmarshal(doc, &data) != nil {
		return json.RawMessage("{}")
	}
	data.SHA256 = ""
	shown, err := json.Marshal(data)
	if err != nil {
		return json.RawMessage("{}")
	}
	return shown
}
