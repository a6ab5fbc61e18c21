package bus

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/reelmill/reelmill/pipeline"
)

// FuzzDecodeEvent: the sequence of an event is that of the log, whatever the document says; an accepted event is
// written and read as the same document.
func FuzzDecodeEvent(f *testing.F) {
	for _, doc := range []string{
		`{"specversion":"1.0","id":"evt_1","type":"video.uploaded","time":"2026-01-01T00:00:00Z","data":{"a":[1]}}`,
		`{"sequence":99,"data":null}`, `{"Sequence":99}`, `{"data":"\ud800"}`, `[]`, `null`, `{"time":"x"}`,
	} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		e, err := decodeEvent(doc, 7)
		if err != nil {
			return
		}
		if e.Sequence != 7 {
			t.Fatalf("%q has sequence %d", doc, e.Sequence)
		}
		first, err := json.Marshal(e)
		if err != nil {
			return // a time beyond the year 9999 cannot be written
		}
		again, err := decodeEvent(first, 7)
		if err != nil {
			t.Fatalf("%q is written as %q: %v", doc, first, err)
		}
		if second, err := json.Marshal(again); err != nil || string(second) != string(first) {
			t.Errorf("%q is written as %q, then as %q, %v", doc, first, second, err)
		}
	})
}

// FuzzDecodeTask: an accepted task has the subject of a queue, of seven tokens without wildcards.
func FuzzDecodeTask(f *testing.F) {
	for _, doc := range []string{
		`{"project":"default","video":"vid_a","job":{"name":"transcode-0000","worker":"transcode","priority":"high"}}`,
		`{"project":"*","video":"vid_a","job":{"name":"a.b","worker":">"}}`, `{"job":{"priority":"x"}}`, `null`,
	} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		var task pipeline.Task
		if json.Unmarshal(doc, &task) != nil || checkTask(task) != nil {
			return
		}
		s := task.Subject()
		if strings.Count(s, ".") != 6 || strings.ContainsAny(s, "*> \t\r\n") || strings.Contains(s, "..") {
			t.Errorf("%q has the subject %q", doc, s)
		}
	})
}

// FuzzDecodeLetter: any message in the stream of dead letters is a letter with the id of its sequence, and can be
// written as JSON.
func FuzzDecodeLetter(f *testing.F) {
	f.Add([]byte(`{"task":{"project":"default","video":"vid_a"},"attempts":3}`), "", uint64(1))
	f.Add([]byte(`no task`), `"read it: \\x00"`, uint64(9))
	f.Add([]byte(`{"time":"x"}`), "\"", uint64(1<<63))
	f.Fuzz(func(t *testing.T, data []byte, problem string, sequence uint64) {
		m := &message{Subject: "dead.a", Sequence: sequence, Data: data, Header: nats.Header{"X": {"y"}}}
		if problem != "" {
			m.Header[headerProblem] = []string{problem}
		}
		d := decodeLetter(m)
		if back, ok := deadSequence(d.ID); sequence > 0 && (!ok || back != sequence) {
			t.Fatalf("%d has the id %s, which is %d", sequence, d.ID, back)
		}
		if _, err := json.Marshal(d); err != nil && d.Raw != nil {
			t.Errorf("%q: %v", data, err)
		}
	})
}

// FuzzDeadSequence: an accepted id of a dead letter is the one that its sequence has.
func FuzzDeadSequence(f *testing.F) {
	for _, id := range []string{deadID(1), deadPrefix + "01", deadPrefix + "+1", "1", deadPrefix + "18446744073709551616", ""} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		if n, ok := deadSequence(id); ok && (n == 0 || deadID(n) != id) {
			t.Errorf("%q is %d", id, n)
		}
	})
}
