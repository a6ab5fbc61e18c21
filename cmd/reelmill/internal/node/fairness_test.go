package node

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// TestFairness checks that a video of one project does not wait for a thousand videos of another. It counts
// the videos that begin before it, rather than time, which depends on the machine. On an idle machine they
// are two or three.
func TestFairness(t *testing.T) {
	const slots, crowd, most = 2, 1000, 100
	const work = 2 * time.Second
	crowded, alone := "crowded", "alone"
	if pipeline.Lane(crowded) == pipeline.Lane(alone) {
		t.Fatal("choose names with different lanes")
	}
	before := make(chan int, 1)
	waiting := make(chan struct{})
	inspected, begun := 0, 0
	m := newMill(t, slots, work, func(e pipeline.Event) {
		switch {
		case e.Type == pipeline.VideoUploaded && e.Subject == pipeline.UploadedSubject(alone, "v"):
			begun = 0
		case e.Type == pipeline.JobStarted && strings.HasPrefix(e.Subject, "job."+alone+".v.idle"):
			select {
			case before <- begun:
			default:
			}
		case e.Type == pipeline.JobStarted && strings.Contains(e.Subject, ".idle"):
			begun++
		case e.Type == pipeline.VideoInspected:
			if inspected++; inspected == crowd/10 {
				close(waiting)
			}
		}
	})
	for i := range crowd {
		m.upload(crowded, fmt.Sprintf("v%d", i))
	}
	<-waiting // there are far more jobs than slots
	m.upload(alone, "v")
	if n := pipelinetest.Receive(t, "the start of the other project's job", before); n > most {
		t.Errorf("begun after %d jobs of the crowd, want at most %d", n, most)
	}
}
