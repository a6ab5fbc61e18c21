package bus

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
)

// held returns a stream that holds bytes and that should get another limit.
func held(name string, bytes, limit, want int64) Live {
	config := func(n int64) jetstream.StreamConfig { return jetstream.StreamConfig{Name: name, MaxBytes: n} }
	return Live{
		Stream: name, Bytes: bytes, MaxBytes: limit, stream: config(limit),
		Differences: differences(config(want), config(limit)),
	}
}

// Errors write sizes as they write limits: two different sizes never read alike.
func TestObstacleWritesSizesAsLimits(t *testing.T) {
	for _, c := range []struct {
		bytes, want int64
		text        string
	}{
		{12 << 30, 9 << 30, "it holds 12 GiB, more than 9 GiB"},
		{9<<30 + 1, 9 << 30, "it holds 9 GiB (9663676417 bytes), more than 9 GiB"},
		{13 << 30, 9<<30 + 1<<29, "it holds 13 GiB, more than 9728 MiB"},
		{3 << 40, 2 << 40, "it holds 3 TiB, more than 2 TiB"},
		{1 << 40, 5e8, "it holds 1 TiB, more than 477 MiB (500000000 bytes)"},
		{9 << 30, 9 << 30, ""},
	} {
		if text := held("EVENTS", c.bytes, 16<<40, c.want).obstacle(); text != c.text {
			t.Errorf("%q, want %q", text, c.text)
		}
	}
}

func TestRefusalNamesSizes(t *testing.T) {
	err := roomOf(8<<30-400<<20, 8<<30).refusal(pipeline.VideoUploaded)
	want := "the event log has 7.61 GiB of 8 GiB, and takes video.uploaded up to 7.5 GiB"
	if p := pipeline.ProblemOf(err); p.Detail != want {
		t.Errorf("%q, want %q", p.Detail, want)
	}
}

// Check says each reason once, with all streams that it applies to, in their order.
func TestCheckSaysAReasonOnce(t *testing.T) {
	const gib = 1 << 30
	err := Check(held("A", 3*gib, 4*gib, 2*gib), held("B", gib, 4*gib, 2*gib), held("C", 5*gib, 8*gib, 2*gib),
		held("D", 3*gib, 4*gib, 2*gib))
	want := "A, D: it holds 3 GiB, more than 2 GiB; C: it holds 5 GiB, more than 2 GiB"
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if err := Check(held("B", gib, 4*gib, 2*gib)); err != nil {
		t.Error(err)
	}
}
