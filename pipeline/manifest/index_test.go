package manifest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/reelmill/reelmill/pipeline"
)

// TestIndex: earlier versions stored indexes under the same names.
func TestIndex(t *testing.T) {
	const stored = `[{"rendition":"720p","track":{"codecs":"avc1.64001F","header":"h","timescale":25000,` +
		`"width":1280,"height":720,"init_size":9,"first":3,` +
		`"segments":[{"duration":6,"size":70,"keys":[{"offset":8,"size":5,"duration":6}]}]}}]`
	run := Run{Rendition: "720p", Track: Track{
		Codecs: "avc1.64001F", Header: "h", Timescale: 25000, Width: 1280, Height: 720, InitSize: 9, First: 3,
		Segments: []Segment{{Duration: 6, Size: 70, Keys: []Key{{Offset: 8, Size: 5, Duration: 6}}}},
	}}
	if data, err := EncodeIndex(run); err != nil || string(data) != stored {
		t.Errorf("%s, %v", data, err)
	}
	runs, err := DecodeIndex([]byte(stored))
	if err != nil || !cmp.Equal(runs, []Run{run}) {
		t.Errorf("%+v, %v", runs, err)
	}
	if _, err := DecodeIndex([]byte(`{}`)); err == nil {
		t.Error("an object is read as an index")
	}
	if o := IndexOutput("transcode-0000"); !IsIndex(o) || o.Path != "index/transcode-0000.json" {
		t.Errorf("%+v", o)
	}
	if IsIndex(pipeline.Output{Name: "frames", Kind: pipeline.KindIndex}) {
		t.Error("the index of another worker is taken for one of segments")
	}
}
