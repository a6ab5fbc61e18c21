package pipeline

import (
	"testing"
	"time"
)

func TestEstimatedWait(t *testing.T) {
	now := time.Now()
	tasks := map[Priority]int{High: 1, Normal: 8, Bulk: 3}
	run := []Runner{{Process: "a", Slots: 2}}
	busy := Pace{Completed: 6, First: now.Add(-50 * time.Second)} // 5 in 50 s: one in 10 s
	for name, test := range map[string]struct {
		queue WorkerQueue
		pace  Pace
		want  time.Duration
		known bool
	}{
		"ten wait":       {WorkerQueue{Tasks: tasks, Taken: 2, Running: run}, busy, 100 * time.Second, true},
		"none waits":     {WorkerQueue{Tasks: map[Priority]int{High: 2}, Taken: 2, Running: run}, Pace{}, 0, true},
		"none completed": {WorkerQueue{Tasks: tasks, Running: run}, Pace{}, 0, false},
		"one completed":  {WorkerQueue{Tasks: tasks, Running: run}, Pace{Completed: 1, First: busy.First}, 0, false},
		"another clock":  {WorkerQueue{Tasks: tasks, Running: run}, Pace{Completed: 9, First: now}, 0, false},
		"nobody runs it": {WorkerQueue{Tasks: tasks}, busy, 0, false},
		"paused":         {WorkerQueue{Tasks: tasks, Running: run, Pause: &Pause{}}, busy, 0, false},
		"paused, empty":  {WorkerQueue{Running: run, Pause: &Pause{}}, busy, 0, false},
	} {
		if wait, known := test.queue.EstimatedWait(test.pace, now); wait != test.want || known != test.known {
			t.Errorf("%s: %v, %t; want %v, %t", name, wait, known, test.want, test.known)
		}
	}
}
