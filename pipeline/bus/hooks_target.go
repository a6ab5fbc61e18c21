package bus

import (
	"context"

	"github.com/nats-io/nats.go"

	"github.com/reelmill/reelmill/pipeline/webhooks"
)

// Send implements webhooks.Target for NATS endpoints: it publishes the body on the endpoint's subject, and
// returns when the server has it. The headers have the id of the event, which a subscriber can drop doubles
// by, and its type.
//
// Not guaranteed: that somebody subscribes. A stream on the subject keeps the messages.
func (h *Hooks) Send(ctx context.Context, e webhooks.Endpoint, t webhooks.Task) webhooks.Outcome {
	head := map[string]string{
		"webhook-id": t.Event, "webhook-type": t.Type, "content-type": "application/json", nats.MsgIdHdr: t.Event,
	}
	o := webhooks.Outcome{Request: map[string]string{"subject": e.Place()}}
	m := &nats.Msg{Subject: e.Place(), Data: t.Body, Header: nats.Header{}}
	for name, value := range head {
		m.Header.Set(name, value)
		o.Request[name] = value
	}
	err := h.b.nc.PublishMsg(m)
	if err == nil {
		err = h.b.nc.FlushWithContext(ctx)
	}
	if err != nil {
		o.Error, o.Silent = "the broker did not take the message: "+err.Error(), true
		return o
	}
	o.Accepted = true
	return o
}

// Host implements webhooks.Target: all messages go to the broker.
func (h *Hooks) Host(webhooks.Endpoint) string { return "nats" }
