package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/reelmill/reelmill/pipeline"
)

// ErrSignature means that a webhook does not come from the server: a header is missing, no signature fits a
// secret, or the time in it is more than 5 minutes away. Answer it with 401, and do nothing else with it.
var ErrSignature = errors.New("the webhook is not signed with a known secret")

// Webhook is a verified message of a server.
type Webhook struct {
	// ID is that of the event, in every try to deliver it: whoever has seen it ignores the message.
	ID        string
	Type      pipeline.EventType // such as video.ready; a later server may know more types than this package
	Timestamp time.Time          // of the event, not of the delivery
	// Video is the video just after the event; nil if the message is about something else.
	Video *pipeline.VideoView
	// Data is what the message says, as it came.
	Data json.RawMessage
}

// Unwrap verifies a webhook as Standard Webhooks 1.0 has it (https://www.standardwebhooks.com), and returns
// its event. payload is the body as it came, byte for byte; header that of the request. The secrets are those
// of the endpoint, with or without whsec_: give the old and the new one while you change them. Comparisons
// take the same time whatever the signature. The error is ErrSignature, unless a secret is unusable or a
// message that is signed is none.
func Unwrap(payload []byte, header http.Header, secrets ...string) (Webhook, error) {
	if len(secrets) == 0 {
		return Webhook{}, errors.New("unwrap webhook: there is no secret to verify it with")
	}
	verified := false
	var failed error
	for i, secret := range secrets {
		if strings.TrimPrefix(secret, "whsec_") == "" { // anybody can sign with it
			return Webhook{}, fmt.Errorf("unwrap webhook: secret %d is empty", i+1)
		}
		verifier, err := standardwebhooks.NewWebhook(secret)
		if err != nil { // without the error, which may quote the secret
			return Webhook{}, fmt.Errorf("unwrap webhook: secret %d is not whsec_ and base64", i+1)
		}
		err = verifier.Verify(payload, header)
		verified = verified || err == nil
		failed = err
	}
	if !verified {
		return Webhook{}, fmt.Errorf("%w: %w", ErrSignature, failed)
	}
	var message struct {
		Type      pipeline.EventType `json:"type"`
		Timestamp time.Time          `json:"timestamp"`
		Data      json.RawMessage    `json:"data"`
	}
	if err := json.Unmarshal(payload, &message); err != nil {
		return Webhook{}, fmt.Errorf("unwrap webhook: decode the message: %w", err)
	}
	w := Webhook{
		ID: header.Get(standardwebhooks.HeaderWebhookID), Type: message.Type, Timestamp: message.Timestamp,
		Data: message.Data,
	}
	var v pipeline.VideoView
	if json.Unmarshal(message.Data, &v) == nil && strings.HasPrefix(v.ID, "vid_") {
		w.Video = &v
	}
	return w, nil
}
