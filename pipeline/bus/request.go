package bus

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// request makes a request to the server's JetStream API
// (https://docs.nats.io/reference/reference-protocols/nats_api_reference), with a few tries, and decodes the
// answer. It is for what nats.go does in two requests, or asks of any replica instead of the leader.
func (b *Bus) request(ctx context.Context, subject string, ask any, into answer) error {
	doc, err := json.Marshal(ask)
	if err != nil {
		return err
	}
	return b.patiently(ctx, func(ctx context.Context) error {
		m, err := b.nc.RequestWithContext(ctx, "$JS.API."+subject, doc)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(m.Data, into); err != nil {
			return fmt.Errorf("decode the answer of %s: %w", subject, err)
		}
		return into.failure()
	})
}

// answer is an answer of the API.
type answer interface{ failure() error }

// refusal is the part of an answer that says why the request failed.
type refusal struct {
	Error *jetstream.APIError `json:"error"`
}

func (r *refusal) failure() error {
	if r.Error == nil {
		return nil
	}
	return r.Error
}

// want selects a message of a stream: the one with a sequence, the last one of a subject, or the first one
// from a sequence on whose subject matches a filter.
type want struct {
	Sequence uint64 `json:"seq,omitempty"`
	LastOf   string `json:"last_by_subj,omitempty"`
	NextOf   string `json:"next_by_subj,omitempty"`
	Batch    int    `json:"batch,omitempty"` // of a direct get only
}

// message is a stored message as the stream's leader has it.
type message struct {
	Subject  string      `json:"subject"`
	Sequence uint64      `json:"seq"`
	Data     []byte      `json:"data"`
	RawHead  string      `json:"hdrs"`
	Time     time.Time   `json:"time"`
	Header   nats.Header `json:"-"`
}

// message reads one message from the leader of a stream. It returns nil when there is none.
func (b *Bus) message(ctx context.Context, stream string, w want) (*message, error) {
	var got struct {
		refusal
		Message message `json:"message"`
	}
	err := b.request(ctx, "STREAM.MSG.GET."+stream, w, &got)
	if isAPI(err, jetstream.JSErrCodeMessageNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m := &got.Message
	if m.RawHead != "" {
		raw, err := base64.StdEncoding.DecodeString(m.RawHead)
		if err == nil {
			m.Header, err = nats.DecodeHeadersMsg(raw)
		}
		if err != nil {
			return nil, fmt.Errorf("decode the headers of message %d: %w", m.Sequence, err)
		}
	}
	return m, nil
}

// subjects returns how many messages a stream has on each subject that matches the filter. It makes one
// request for every 100,000 subjects, for which the server walks over those that match.
func (b *Bus) subjects(ctx context.Context, stream, filter string) (map[string]uint64, error) {
	counts := map[string]uint64{}
	for {
		var got struct {
			refusal
			Total int `json:"total"`
			State struct {
				Subjects map[string]uint64 `json:"subjects"`
			} `json:"state"`
		}
		ask := map[string]any{"subjects_filter": filter, "offset": len(counts)}
		if err := b.request(ctx, "STREAM.INFO."+stream, ask, &got); err != nil {
			return nil, err
		}
		for s, n := range got.State.Subjects {
			counts[s] = n
		}
		if len(got.State.Subjects) == 0 || len(counts) >= got.Total {
			return counts, nil
		}
	}
}

// countFrom returns how many messages of the queue, from a sequence on, match the filter.
func (b *Bus) countFrom(ctx context.Context, filter string, sequence uint64) (int, error) {
	return b.countIn(ctx, streamTasks, filter, sequence)
}

// countIn returns how many messages of a stream, from a sequence on, match the filter. The server sends the
// number with any batched read (Nats-Num-Pending, ADR-31), from its index and not from the messages. With
// replicas, one that lags may answer.
func (b *Bus) countIn(ctx context.Context, stream, filter string, sequence uint64) (int, error) {
	doc, err := json.Marshal(want{Sequence: max(sequence, 1), NextOf: filter, Batch: 1})
	if err != nil {
		return 0, err
	}
	var m *nats.Msg
	err = b.patiently(ctx, func(ctx context.Context) (err error) {
		m, err = b.nc.RequestWithContext(ctx, "$JS.API.DIRECT.GET."+stream, doc)
		return err
	})
	if err != nil {
		return 0, err
	}
	switch status := m.Header.Get("Status"); status {
	case "":
		after, err := strconv.Atoi(m.Header.Get("Nats-Num-Pending"))
		if err != nil {
			return 0, fmt.Errorf("count messages on %s: %w", filter, err)
		}
		return after + 1, nil
	case strconv.Itoa(http.StatusNotFound):
		return 0, nil
	default:
		return 0, fmt.Errorf("count messages on %s: %s %s", filter, status, m.Header.Get("Description"))
	}
}

// removeAll deletes the unwanted messages that match the filter, one by one. The server could purge a filter
// in one request. But nats-server 2.15.2 then moves the ack floor of a consumer with a wider filter past
// messages that were delivered and not acknowledged (consumer.go, purge: adflr becomes the delivery of the
// purged one), and never delivers those again.
func (b *Bus) removeAll(ctx context.Context, stream, filter string,
	unwanted func(*message) bool,
) error {
	for next := uint64(1); ; {
		m, err := b.message(ctx, stream, want{Sequence: next, NextOf: filter})
		if err != nil || m == nil {
			return err
		}
		if unwanted(m) {
			if _, err := b.remove(ctx, stream, m.Sequence); err != nil {
				return fmt.Errorf("%s: %w", m.Subject, err)
			}
		}
		next = m.Sequence + 1
	}
}

// remove deletes a message, and reports whether it was there.
func (b *Bus) remove(ctx context.Context, stream string, sequence uint64) (bool, error) {
	err := b.request(ctx, "STREAM.MSG.DELETE."+stream, map[string]any{"seq": sequence}, &refusal{})
	if err == nil {
		return true, nil
	}
	m, missing := b.message(ctx, stream, want{Sequence: sequence})
	if missing == nil && m == nil {
		return false, nil // an earlier try, or another process, has removed it
	}
	return false, err
}
