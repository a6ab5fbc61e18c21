package pipeline

import "testing"

// TestTasksHaveNoBorders: a long video has thousands of borders, and thousands of tasks.
func TestTasksHaveNoBorders(t *testing.T) {
	m := &Media{Container: "mov", Video: VideoTrack{Groups: &Groups{Closed: true, Borders: []float64{0, 6}}}}
	short := m.forTask()
	if short.Container != "mov" || !short.Video.Groups.Closed || short.Video.Groups.Borders != nil {
		t.Errorf("%+v %+v", short, short.Video.Groups)
	}
	if len(m.Video.Groups.Borders) != 2 {
		t.Error("the facts themselves were changed")
	}
	if (*Media)(nil).forTask() != nil {
		t.Error("without facts, the task has some")
	}
}
