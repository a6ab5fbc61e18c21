package api

import (
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/webhooks"
)

// webhookScheme is the name of the security scheme of webhooks.
const webhookScheme = "standardWebhooks"

// describeWebhooks describes the requests that the server sends.
func (s *server) describeWebhooks() {
	doc := s.api.OpenAPI()
	doc.Components.SecuritySchemes[webhookScheme] = &huma.SecurityScheme{
		Type: "apiKey", In: "header", Name: "webhook-signature",
		Description: "Standard Webhooks 1.0 (https://www.standardwebhooks.com): `v1,` and an HMAC-SHA256 in " +
			"base64 of `webhook-id`, `webhook-timestamp` and the body, joined by dots. The key is the secret of the " +
			"endpoint or, for the `webhook_url` of an upload, that of the server, without `whsec_` and decoded from " +
			"base64. While a secret is changed, there are several signatures, with spaces between. Verify them with " +
			"a library of that page, on the bytes of the body.",
	}
	doc.Webhooks = map[string]*huma.PathItem{}
	summaries := map[string]string{
		webhooks.TypeTest:     "A test that somebody asked for",
		webhooks.TypeDisabled: "Another webhook endpoint of the project was disabled",
	}
	for t, summary := range eventSummaries() {
		summaries[string(t)] = summary
	}
	summaries[string(pipeline.QuotaWarned)] = "The project has used 80% of a quota"
	summaries[string(pipeline.QuotaExceeded)] = "The project has used all of a quota, or was refused something"
	for kind, summary := range summaries {
		body := doc.Components.Schemas.Schema(bodyOf(kind), true, "")
		doc.Webhooks[kind] = &huma.PathItem{Post: describeWebhook(kind, summary, body)}
	}
}

// Bodies of webhooks, apart from pipeline.Message.
type (
	jobMessage struct {
		Type      string           `json:"type"`
		Timestamp time.Time        `json:"timestamp"`
		Data      pipeline.JobView `json:"data"`
	}
	goneMessage struct {
		Type      string        `json:"type"`
		Timestamp time.Time     `json:"timestamp"`
		Data      pipeline.Gone `json:"data"`
	}
	endpointMessage struct {
		Type      string                `json:"type"`
		Timestamp time.Time             `json:"timestamp"`
		Data      webhooks.EndpointView `json:"data"`
	}
	quotaMessage struct {
		Type      string           `json:"type"`
		Timestamp time.Time        `json:"timestamp"`
		Data      access.QuotaData `json:"data"`
	}
	testMessage struct {
		Type      string    `json:"type"`
		Timestamp time.Time `json:"timestamp"`
		Data      struct {
			Message string `json:"message"`
		} `json:"data"`
	}
)

// bodyOf returns the type of the body of a webhook.
func bodyOf(kind string) reflect.Type {
	switch t := pipeline.EventType(kind); {
	case t == webhooks.TypeTest:
		return reflect.TypeFor[testMessage]()
	case t == webhooks.TypeDisabled:
		return reflect.TypeFor[endpointMessage]()
	case t == pipeline.VideoDeleted || t == pipeline.VideoPurged:
		return reflect.TypeFor[goneMessage]()
	case strings.HasPrefix(kind, "job."):
		return reflect.TypeFor[jobMessage]()
	case strings.HasPrefix(kind, "quota."):
		return reflect.TypeFor[quotaMessage]()
	}
	return reflect.TypeFor[pipeline.Message]()
}

// ofUpload reports whether the webhook of an upload gets an event, too.
func ofUpload(kind string) bool {
	switch pipeline.EventType(kind) {
	case pipeline.VideoPlayable, pipeline.VideoReady, pipeline.VideoErrored, pipeline.VideoRejected,
		pipeline.VideoCanceled:
		return true
	}
	return false
}

// describeWebhook describes the request that reports an event.
func describeWebhook(kind, summary string, body *huma.Schema) *huma.Operation {
	header := func(name, about, example string) *huma.Param {
		return &huma.Param{Name: name, In: "header", Required: true, Description: about, Schema: text(""),
			Example: example}
	}
	to := "The server sends it to each endpoint that asks for the type"
	if ofUpload(kind) {
		to += ", and to the `webhook_url` of the upload, or else to its own"
	}
	return &huma.Operation{
		OperationID: "on-" + kind, Method: http.MethodPost, Tags: []string{"webhooks"}, Summary: summary,
		Description: to + ", until an answer is 2xx: after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h and " +
			"24 h. It may come more than once, with the same `webhook-id`, and in any order with others. `data` is " +
			"the video, job or quota as it was at the event; of a deleted video, its id.",
		Parameters: []*huma.Param{
			header("webhook-id", "The id of the event, the same in every try", "evt_01kah3q6m4c5w8t2y7v9r1x0zb"),
			header("webhook-timestamp", "When this try was sent, in seconds since 1970", "1763720142"),
		},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/json": {Schema: body, Example: sampleMessage(kind)},
		}},
		Responses: map[string]*huma.Response{
			"2XX": {Description: "Any 2xx: the receiver has it, and the server sends it no more"},
			"410": {Description: "The receiver wants no more: the server gives up at once, and disables the endpoint"},
		},
		Security: []map[string][]string{{webhookScheme: {}}},
	}
}

// sampleMessage returns the body of a test; nil where examples has one.
func sampleMessage(kind string) any {
	if ofUpload(kind) {
		return nil
	}
	at := time.Date(2026, 11, 28, 7, 43, 41, 0, time.UTC)
	if kind == webhooks.TypeDisabled {
		value, _ := readExample("EndpointView") // without it, a test finds no example
		return map[string]any{"type": kind, "timestamp": at, "data": value}
	}
	data, err := webhooks.SampleAt(kind, "default", "", at)
	if err != nil {
		return nil // a test finds no example
	}
	return map[string]any{"type": kind, "timestamp": at, "data": data}
}
