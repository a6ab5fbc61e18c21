package picture

import (
	"testing"

	"github.com/reelmill/reelmill/pipeline"
)

// TestMatrixIsNamedAsFFmpegDoes: transcode tags copied tracks by these names.
func TestMatrixIsNamedAsFFmpegDoes(t *testing.T) {
	for tag, want := range map[string]string{
		"bt709": "bt709", "smpte170m": "smpte170m", "bt470bg": "smpte170m", "": "smpte170m", "bt2020c": "bt2020nc",
	} {
		if got := Matrix(pipeline.VideoTrack{Matrix: tag, CodedWidth: 640, CodedHeight: 480}); got != want {
			t.Errorf("%q is %s, want %s", tag, got, want)
		}
	}
	if got := Matrix(pipeline.VideoTrack{CodedWidth: 720, CodedHeight: 1280}); got != "bt709" {
		t.Errorf("HD is %s", got)
	}
}
