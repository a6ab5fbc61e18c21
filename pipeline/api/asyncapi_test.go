package api

import (
	"bytes"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/webhooks"
)

// TestAsyncAPI: the document has a message for each event and each message of a WebSocket, in the channels
// that carry them, and each example fits the schema of its message. Those of events fit the committed schema,
// too. `make spec` checks the rest.
func TestAsyncAPI(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.PublicURL = "https://mill.example/video" })
	_, raw := e.get("/asyncapi.json")
	doc := decode[struct {
		Servers  map[string]struct{ Host, Protocol, Pathname string }
		Channels map[string]struct {
			Address  string
			Messages map[string]any
		}
		Operations map[string]struct {
			Action   string
			Messages []any
		}
		Components struct {
			Messages map[string]struct {
				Summary  string
				Examples []struct{ Payload any }
			}
			Schemas map[string]struct{ Properties map[string]any }
		}
	}](t, raw)
	if s := doc.Servers["websocket"]; s.Host != "mill.example" || s.Protocol != "wss" || s.Pathname != "/video" {
		t.Errorf("the server of the WebSocket is %+v", s)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	must(t, err)
	must(t, compiler.AddResource("file:///asyncapi.json", parsed))
	for name, m := range doc.Components.Messages {
		payload, err := compiler.Compile("file:///asyncapi.json#/components/messages/" + name + "/payload")
		must(t, err)
		if len(m.Examples) == 0 || m.Summary == "" {
			t.Errorf("%s has no example or summary", name)
		}
		for _, example := range m.Examples {
			if err := payload.Validate(example.Payload); err != nil {
				t.Errorf("the example of %s: %v", name, err)
			}
		}
	}
	carried := map[string]bool{}
	for _, c := range doc.Channels {
		for name := range c.Messages {
			carried[name] = true
		}
	}
	for name := range doc.Components.Messages {
		if !carried[name] {
			t.Errorf("no channel has %s", name)
		}
	}
	for _, et := range pipeline.EventTypes {
		example := doc.Components.Messages[string(et)].Examples[0].Payload.(map[string]any)
		subject, _ := example["subject"].(string)
		if _, _, _, err := pipeline.Address(subject); err != nil || example["type"] != string(et) {
			t.Errorf("the example of %s is a %v on %q: %v", et, example["type"], subject, err)
		}
		if !onSubject(subject, string(et), func(yield func(string, map[string]any) bool) {
			for _, c := range doc.Channels {
				if !yield(c.Address, c.Messages) {
					return
				}
			}
		}) {
			t.Errorf("no subject has %s on %s", et, subject)
		}
	}
	fieldsAreDescribed(t, reflect.TypeFor[order](), socketOrderMessages())
	fieldsAreDescribed(t, reflect.TypeFor[socketAnswer](), socketAnswerMessages(nil))
	if op := doc.Operations["obey"]; op.Action != "receive" || len(op.Messages) != 3 {
		t.Errorf("what the client says is %+v", op)
	}
	if op := doc.Operations["tell"]; op.Action != "send" || len(op.Messages) != 6 {
		t.Errorf("what the server says is %+v", op)
	}
}

// TestEveryWebhookIsDescribed: the OpenAPI document has a webhook for each type that endpoints get.
func TestEveryWebhookIsDescribed(t *testing.T) {
	_, raw := newEnv(t, nil).get("/openapi.json")
	got := slices.Sorted(maps.Keys(decode[refDocument](t, raw).Webhooks))
	want := append(eventNames(), webhooks.TypeTest, webhooks.TypeDisabled)
	for _, t := range pipeline.QuotaEventTypes {
		want = append(want, string(t))
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// onSubject reports whether a channel whose address fits the subject has a message.
func onSubject(subject, message string, channels func(func(string, map[string]any) bool)) (found bool) {
	parts := strings.Split(subject, ".")
	channels(func(address string, messages map[string]any) bool {
		pattern := strings.Split(address, ".")
		fits := len(pattern) == len(parts) && messages[message] != nil
		for i := 0; fits && i < len(parts); i++ {
			before, name, variable := strings.Cut(pattern[i], "{")
			_, after, _ := strings.Cut(name, "}")
			fits = pattern[i] == parts[i] || variable && len(parts[i]) > len(before)+len(after) &&
				strings.HasPrefix(parts[i], before) && strings.HasSuffix(parts[i], after)
		}
		found = found || fits
		return !found
	})
	return found
}

// fieldsAreDescribed fails for a field of a message that no description has.
func fieldsAreDescribed(t *testing.T, of reflect.Type, messages []socketMessage) {
	t.Helper()
	described := map[string]bool{"type": true}
	for _, m := range messages {
		for _, f := range m.fields {
			described[f] = true
		}
	}
	for f := range of.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "" && !described[name] {
			t.Errorf("no message of a WebSocket has %s: %v", name, slices.Sorted(maps.Keys(described)))
		}
	}
}
