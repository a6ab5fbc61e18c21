package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// TestFairness: while a thousand videos of one project wait, one of another project is begun within the time
// that two slots take.
func TestFairness(t *testing.T) {
	const slots, crowd = 2, 1000
	const work = 2 * time.Second
	crowded, alone := "crowded", "alone"
	if pipeline.Lane(crowded) == pipeline.Lane(alone) {
		t.Fatal("choose names with different lanes")
	}
	begun := make(chan time.Time, 1)
	waiting := make(chan struct{})
	inspected := 0
	m := newMill(t, slots, work, func(e pipeline.Event) {
		switch {
		case e.Type == pipeline.JobStarted && strings.HasPrefix(e.Subject, "job."+alone+".v.idle"):
			select {
			case begun <- e.Time:
			default:
			}
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
	uploaded, err := m.bus.Last(t.Context(), pipeline.UploadedSubject(alone, "v"))
	check(t, err)
	select {
	case at := <-begun:
		if took := at.Sub(uploaded[0].Time); took > 2*work {
			t.Errorf("begun %s after its upload, want at most %s", took, 2*work)
		}
	case <-time.After(time.Minute):
		t.Fatal("not begun within a minute")
	}
}
