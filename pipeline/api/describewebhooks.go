package api

import (
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/reelmill/reelmill/pipeline"
)

// webhookScheme is the name of the security scheme of webhooks.
const webhookScheme = "standardWebhooks"

// describeWebhooks describes the requests that the server sends.
func (s *server) describeWebhooks() {
	doc := s.api.OpenAPI()
	doc.Components.SecuritySchemes = map[string]*huma.SecurityScheme{webhookScheme: {
		Type: "apiKey", In: "header", Name: "webhook-signature",
		Description: "Standard Webhooks 1.0 (https://www.standardwebhooks.com): `v1,` and an HMAC-SHA256 in " +
			"base64 of `webhook-id`, `webhook-timestamp` and the body, joined by dots. The key is the secret of the " +
			"endpoint or, for the `webhook_url` of an upload, that of the server, without `whsec_` and decoded from " +
			"base64. While a secret is changed, there are several signatures, with spaces between. Verify them with " +
			"a library of that page, on the bytes of the body.",
	}}
	body := doc.Components.Schemas.Schema(reflect.TypeFor[pipeline.Message](), true, "")
	doc.Webhooks = map[string]*huma.PathItem{}
	for event, summary := range map[pipeline.EventType]string{
		pipeline.VideoPlayable: "A video can be played",
		pipeline.VideoReady:    "A video is ready: every job is done, and every output verified",
		pipeline.VideoErrored:  "A video is errored: a required job failed for good",
		pipeline.VideoRejected: "A video is rejected: inspection refused its source",
		pipeline.VideoCanceled: "A video is canceled: somebody stopped it",
	} {
		doc.Webhooks[string(event)] = &huma.PathItem{Post: describeWebhook(string(event), summary, body)}
	}
}

// describeWebhook describes the request that reports an event.
func describeWebhook(event, summary string, body *huma.Schema) *huma.Operation {
	header := func(name, about, example string) *huma.Param {
		return &huma.Param{Name: name, In: "header", Required: true, Description: about, Schema: text(""),
			Example: example}
	}
	return &huma.Operation{
		OperationID: "on-" + event, Method: http.MethodPost, Tags: []string{"webhooks"}, Summary: summary,
		Description: "The server sends it to each endpoint that asks for the type, and to the `webhook_url` of " +
			"the upload, or else to its own, until an answer is 2xx: after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, " +
			"14 h, 20 h and 24 h. It may come more than once, with the same `webhook-id`, and in any order with " +
			"others. `data` is the video as it was at the event. Endpoints may ask for the other types of events, " +
			"too.",
		Parameters: []*huma.Param{
			header("webhook-id", "The id of the event, the same in every try", "evt_01kah3q6m4c5w8t2y7v9r1x0zb"),
			header("webhook-timestamp", "When this try was sent, in seconds since 1970", "1763720142"),
		},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/json": {Schema: body},
		}},
		Responses: map[string]*huma.Response{
			"2XX": {Description: "Any 2xx: the receiver has it, and the server sends it no more"},
			"410": {Description: "The receiver wants no more: the server gives up at once, and disables the endpoint"},
		},
		Security: []map[string][]string{{webhookScheme: {}}},
	}
}
