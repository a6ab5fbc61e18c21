package manifest

import (
	"reflect"
	"testing"

	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// FuzzDecodeIndex: an accepted index is written and read as the same runs, and takes no more memory than its size
// explains.
func FuzzDecodeIndex(f *testing.F) {
	real, err := EncodeIndex(Run{Rendition: "720p", Track: Track{
		Codecs: "avc1.64001F", Timescale: 12800, Width: 1280, Height: 720, InitSize: 800,
		Segments: []Segment{{Duration: 6, Size: 1000, Keys: []Key{{Offset: 1, Size: 2, Duration: 2}}}},
	}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(real)
	f.Add([]byte(`[{"track":{"segments":[{},{},null]}}]`))
	f.Add([]byte(`[{"track":{"timescale":1e99}}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var runs []Run
		var err error
		if n := pipelinetest.Allocated(func() { runs, err = DecodeIndex(data) }); n > 1<<20+uint64(1000*len(data)) {
			t.Fatalf("%d bytes of memory for %d of index", n, len(data))
		}
		if err != nil {
			return
		}
		again, err := EncodeIndex(runs...)
		if err != nil {
			t.Fatalf("%q: %v", data, err)
		}
		if got, err := DecodeIndex(again); err != nil || len(got) != len(runs) || len(got) > 0 && !reflect.DeepEqual(got, runs) {
			t.Errorf("%q became %+v, then %+v, %v", data, runs, got, err)
		}
	})
}
