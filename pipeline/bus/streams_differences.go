package bus

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline/bytesize"
)

// ErrDiffers says that a live stream or consumer is not what the Config asks for, or that the bus cannot work
// with it. Nothing was changed. The message names each difference, and the command that changes it.
var ErrDiffers = errors.New("exists and differs")

// Difference is a setting of a live stream or consumer that must change.
type Difference struct {
	What string // the setting: replicas, max bytes, retention, ...
	Live string // its value
	Want string // what it must be
	// Fixed says that the server cannot change the setting of what exists.
	Fixed bool

	stream   func(*jetstream.StreamConfig) // changes the setting; nil for a consumer's
	consumer func(*jetstream.ConsumerConfig)
}

// String implements fmt.Stringer.
func (d Difference) String() string { return fmt.Sprintf("%s is %s, want %s", d.What, d.Live, d.Want) }

// refuse returns ErrDiffers with the differences, or nil when there are none.
func refuse(of string, diffs []Difference) error {
	if len(diffs) == 0 {
		return nil
	}
	var texts []string
	for _, d := range diffs {
		texts = append(texts, d.String())
	}
	return fmt.Errorf("open bus: %s %w: %s; nothing was changed: start with the settings that it has, or "+
		"change it with `reelmill streams apply`", of, ErrDiffers, strings.Join(texts, "; "))
}

// comparison collects differences.
type comparison []Difference

func (c *comparison) add(what string, want, live any, fixed bool, set func(*jetstream.StreamConfig)) {
	if want != live {
		*c = append(*c, Difference{
			What: what, Live: fmt.Sprint(live), Want: fmt.Sprint(want), Fixed: fixed, stream: set,
		})
	}
}

// differences returns the settings of a live stream that would drop or refuse our messages, bring in
// others', or lack what the bus relies on; and the replicas and limits that differ from the Config. It
// ignores all other settings.
func differences(want, live jetstream.StreamConfig) []Difference {
	var c comparison
	type config = jetstream.StreamConfig
	c.add("retention", want.Retention, live.Retention, true, func(c *config) { c.Retention = want.Retention })
	c.add("storage", want.Storage, live.Storage, true, func(c *config) { c.Storage = want.Storage })
	c.add("discard", want.Discard, live.Discard, false, func(c *config) { c.Discard = want.Discard })
	c.add("subjects", listed(want.Subjects), listed(live.Subjects), false,
		func(c *config) { c.Subjects = want.Subjects })
	if want.Replicas != 0 {
		c.add("replicas", want.Replicas, live.Replicas, false, func(c *config) { setReplicas(c, want.Replicas) })
	}
	c.limits(want, live)
	c.abilities(want, live)
	return c
}

// setReplicas sets the replicas. With more than one, the log must be read from its leader, without direct
// gets.
func setReplicas(c *jetstream.StreamConfig, n int) {
	c.Replicas = n
	if c.Name == streamEvents && n > 1 {
		c.AllowDirect = false
	}
}

// limits compares the settings that would drop or refuse messages. It compares them as texts, which differ
// when the limits do.
func (c *comparison) limits(want, live jetstream.StreamConfig) {
	type config = jetstream.StreamConfig
	c.add("max messages", countLimit(want.MaxMsgs), countLimit(live.MaxMsgs), false,
		func(c *config) { c.MaxMsgs = want.MaxMsgs })
	c.add("max messages per subject", countLimit(want.MaxMsgsPerSubject), countLimit(live.MaxMsgsPerSubject),
		false, func(c *config) { c.MaxMsgsPerSubject = want.MaxMsgsPerSubject })
	c.add("max message size", sizeLimit(int64(want.MaxMsgSize)), sizeLimit(int64(live.MaxMsgSize)), false,
		func(c *config) { c.MaxMsgSize = want.MaxMsgSize })
	c.add("max age", timeLimit(want.MaxAge), timeLimit(live.MaxAge), false,
		func(c *config) { c.MaxAge = want.MaxAge })
	switch {
	case want.MaxBytes != 0:
		c.add("max bytes", sizeLimit(want.MaxBytes), sizeLimit(live.MaxBytes), false,
			func(c *config) { c.MaxBytes = want.MaxBytes })
	case live.MaxBytes <= 0:
		c.add("max bytes", "a limit", "unlimited", false, func(c *config) { c.MaxBytes = defaultEventsMaxBytes })
	}
	if live.MaxConsumers > 0 {
		c.add("max consumers", "unlimited", live.MaxConsumers, true, func(*config) {})
	}
	c.add("limits of consumers", "none", consumerLimits(live.ConsumerLimits), false,
		func(c *config) { c.ConsumerLimits = jetstream.StreamConsumerLimits{} })
	c.add("discard new per subject", false, live.DiscardNewPerSubject, false,
		func(c *config) { c.DiscardNewPerSubject = false })
}

// countLimit writes a limit of a number of things. Below 1 there is none.
func countLimit[N int | int64](n N) string {
	if n <= 0 {
		return "unlimited"
	}
	return fmt.Sprint(n)
}

// sizeLimit writes a limit of bytes for people, and exactly. Below 1 there is none.
func sizeLimit(bytes int64) string {
	if bytes <= 0 {
		return "unlimited"
	}
	return bytesize.Size(bytes).Exact()
}

// timeLimit writes a limit of time for people: 7 days, 1h, 1m30s. Below 1 there is none.
func timeLimit(d time.Duration) string {
	const day = 24 * time.Hour
	if d <= 0 {
		return "unlimited"
	}
	if d > day && d%day == 0 {
		return fmt.Sprintf("%d days", d/day)
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func consumerLimits(l jetstream.StreamConsumerLimits) string {
	if l == (jetstream.StreamConsumerLimits{}) {
		return "none"
	}
	return fmt.Sprintf("inactive threshold %s and max ack pending %s",
		timeLimit(l.InactiveThreshold), countLimit(l.MaxAckPending))
}

// abilities compares what a stream does beside keeping messages.
func (c *comparison) abilities(want, live jetstream.StreamConfig) {
	type config = jetstream.StreamConfig
	c.add("no acks", false, live.NoAck, false, func(c *config) { c.NoAck = false })
	c.add("sealed", false, live.Sealed, true, func(*config) {})
	c.add("persist mode", want.PersistMode, live.PersistMode, true, func(*config) {})
	c.add("a mirror", false, live.Mirror != nil, true, func(*config) {})
	c.add("number of sources", 0, len(live.Sources), false, func(c *config) { c.Sources = nil })
	c.add("subject transform", false, live.SubjectTransform != nil, false,
		func(c *config) { c.SubjectTransform = nil })
	c.add("counter", false, live.AllowMsgCounter, true, func(*config) {})
	c.add("deny purge", false, live.DenyPurge, true, func(*config) {})
	if !want.DenyDelete {
		c.add("deny delete", false, live.DenyDelete, true, func(*config) {})
	}
	if want.RePublish != nil {
		c.add("republish", republished(want.RePublish), republished(live.RePublish), false,
			func(c *config) { c.RePublish = want.RePublish })
	}
	if want.AllowMsgSchedules {
		c.add("schedules", true, live.AllowMsgSchedules, false, func(c *config) { c.AllowMsgSchedules = true })
	}
	if want.AllowRollup {
		c.add("rollup", true, live.AllowRollup, false, func(c *config) { c.AllowRollup = true })
	}
	if want.AllowDirect {
		c.add("direct reads", true, live.AllowDirect, false, func(c *config) { c.AllowDirect = true })
	}
}

func listed(subjects []string) string {
	return strings.Join(slices.Sorted(slices.Values(subjects)), ",")
}

func republished(r *jetstream.RePublish) string {
	if r == nil {
		return "none"
	}
	return fmt.Sprintf("%s to %s (headers only: %t)", r.Source, r.Destination, r.HeadersOnly)
}

// consumerDifferences returns the settings of a live consumer that would keep tasks from us, or end a lease
// that we still renew.
func consumerDifferences(want, live jetstream.ConsumerConfig) []Difference {
	var diffs []Difference
	type config = jetstream.ConsumerConfig
	add := func(what string, want, live any, fixed bool, set func(*config)) {
		if want != live {
			diffs = append(diffs, Difference{
				What: what, Live: fmt.Sprint(live), Want: fmt.Sprint(want), Fixed: fixed, consumer: set,
			})
		}
	}
	add("ack policy", want.AckPolicy, live.AckPolicy, true, func(*config) {})
	add("deliver policy", want.DeliverPolicy, live.DeliverPolicy, true, func(*config) {})
	add("push subject", "", live.DeliverSubject, true, func(*config) {})
	add("filter", listed(filters(want)), listed(filters(live)), false, func(c *config) {
		c.FilterSubject, c.FilterSubjects = want.FilterSubject, want.FilterSubjects
	})
	add("max deliver", countLimit(want.MaxDeliver), countLimit(live.MaxDeliver), false,
		func(c *config) { c.MaxDeliver = want.MaxDeliver })
	add("number of back-off steps", 0, len(live.BackOff), false, func(c *config) { c.BackOff = nil })
	add("headers only", false, live.HeadersOnly, false, func(c *config) { c.HeadersOnly = false })
	if want.InactiveThreshold == 0 { // else it is of a project: a take makes it anew, and sets its limit
		add("max ack pending", countLimit(want.MaxAckPending), countLimit(live.MaxAckPending), false,
			func(c *config) { c.MaxAckPending = want.MaxAckPending })
		add("inactive threshold", timeLimit(0), timeLimit(live.InactiveThreshold), false,
			func(c *config) { c.InactiveThreshold = 0 })
	}
	add("largest request", countLimit(0), countLimit(max(live.MaxRequestBatch, live.MaxRequestMaxBytes)), false,
		func(c *config) { c.MaxRequestBatch, c.MaxRequestMaxBytes = 0, 0 })
	add("longest request", timeLimit(0), timeLimit(live.MaxRequestExpires), false,
		func(c *config) { c.MaxRequestExpires = 0 })
	if live.AckWait < want.AckWait {
		add("ack wait", timeLimit(want.AckWait), timeLimit(live.AckWait), false,
			func(c *config) { c.AckWait = want.AckWait })
	}
	return diffs
}

func filters(c jetstream.ConsumerConfig) []string {
	if c.FilterSubject == "" {
		return c.FilterSubjects
	}
	return append([]string{c.FilterSubject}, c.FilterSubjects...)
}
