package main

import (
	"context"
	"io"
	"time"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/human"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
)

// queuesCommand groups the commands about queues.
type queuesCommand struct {
	List   queuesList   `cmd:"" help:"List the queue of each worker type: what waits, for how long, and who runs it."`
	Pause  queuesPause  `cmd:"" help:"Take no further task of a worker type, on all machines. Jobs that run go on."`
	Resume queuesResume `cmd:"" help:"Take the tasks of a worker type again."`
}

type queuesList struct{ serverFlags }

// Run lists the queues.
func (c queuesList) Run(ctx context.Context, s streams) error {
	queues, err := c.client().Queues(ctx)
	if err != nil {
		return err
	}
	return c.print(s, queues, func(w io.Writer) {
		if len(queues) == 0 {
			human.Fprintln(w, "There are no queues: no process runs a worker type, and no task waits.")
			return
		}
		printQueues(w, queues...)
	})
}

// printQueues prints a table of queues.
func printQueues(w io.Writer, queues ...client.Queue) {
	human.Fprintf(w, "TYPE\tWAITING\tIN WORK\tOLDEST\tESTIMATED WAIT\tPROCESSES\tSLOTS\tPAUSED\n")
	for _, q := range queues {
		oldest, wait, paused := "-", "-", "-"
		if q.OldestAt != nil {
			oldest = roughly(q.OldestAge)
		}
		if q.Wait != nil {
			wait = roughly(*q.Wait)
		}
		if q.PausedAt != nil {
			paused = "since " + pipeline.Clock(*q.PausedAt)
			if q.PauseReason != "" {
				paused += ": " + q.PauseReason
			}
		}
		human.Fprintf(w, "%s\t%d\t%d\t%s\t%s\t%d\t%d\t%s\n", q.Type, q.Depth, q.InWork, oldest, wait, q.Workers,
			q.Slots, paused)
	}
}

// roughly writes a number of seconds for people.
func roughly(seconds float64) string {
	return time.Duration(seconds * float64(time.Second)).Round(time.Second).String()
}

type queuesPause struct {
	serverFlags
	Type   string `arg:"" help:"The worker type, from reelmill queues list."`
	Reason string `help:"Why; those who wait see it." placeholder:"TEXT"`
}

// Run pauses a queue.
func (c queuesPause) Run(ctx context.Context, s streams) error {
	q, err := c.client().PauseQueue(ctx, c.Type, c.Reason)
	if err != nil {
		return err
	}
	return c.print(s, q, func(w io.Writer) { printQueues(w, q) })
}

type queuesResume struct {
	serverFlags
	Type string `arg:"" help:"The worker type, from reelmill queues list."`
}

// Run resumes a queue.
func (c queuesResume) Run(ctx context.Context, s streams) error {
	q, err := c.client().ResumeQueue(ctx, c.Type)
	if err != nil {
		return err
	}
	return c.print(s, q, func(w io.Writer) { printQueues(w, q) })
}
