package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"text/tabwriter"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/broker"
	"github.com/reelmill/reelmill/cmd/reelmill/internal/human"
	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/pipeline/bus/embedded"
	"github.com/reelmill/reelmill/pipeline/bytesize"
	"github.com/reelmill/reelmill/storage/claim"
)

// streamsCommand shows the streams of the broker. Only it changes existing streams.
type streamsCommand struct {
	Show  streamsShow  `cmd:"" help:"List the streams: replicas, sizes, limits, and what differs from the flags."`
	Apply streamsApply `cmd:"" help:"Give the streams the replicas and limits of the flags."`
}

// streamsShow lists the streams.
type streamsShow struct {
	dataFlags
	output
}

// streamView is a stream, or a consumer of it, for programs.
type streamView struct {
	Stream      string   `json:"stream"`
	Consumer    string   `json:"consumer,omitempty"`
	Exists      bool     `json:"exists"`
	Replicas    int      `json:"replicas,omitempty"`
	Messages    uint64   `json:"messages"`
	Bytes       int64    `json:"bytes"`
	MaxBytes    *int64   `json:"max_bytes"` // null: no limit
	First       uint64   `json:"first"`     // sequences of its messages
	Last        uint64   `json:"last"`
	Differences []string `json:"differences"` // from the flags
}

func viewStreams(all []bus.Live) []streamView {
	views := make([]streamView, len(all))
	for i, l := range all {
		views[i] = streamView{
			Stream: l.Stream, Consumer: l.Consumer, Exists: !l.Absent, Replicas: l.Replicas, Messages: l.Messages,
			Bytes: l.Bytes, First: l.First, Last: l.Last, Differences: []string{},
		}
		if l.MaxBytes > 0 {
			views[i].MaxBytes = &l.MaxBytes
		}
		for _, d := range l.Differences {
			views[i].Differences = append(views[i].Differences, d.String())
		}
	}
	return views
}

// Run lists the streams and how they differ from the flags. It changes nothing.
func (c streamsShow) Run(ctx context.Context, s streams, log *slog.Logger) error {
	return c.look(ctx, log, func(_ *broker.Broker, all []bus.Live) error {
		if c.structured() {
			return c.encode(s.out, viewStreams(all))
		}
		if err := printStreams(s.out, all); err != nil {
			return err
		}
		return printDifferences(s.out, all)
	})
}

// streamsApply changes the streams.
type streamsApply struct {
	dataFlags
	Yes bool `help:"Make the changes. Otherwise, only print them."`
}

// Run prints the changes and, with --yes, makes them. When one change is impossible, it makes none.
func (c streamsApply) Run(ctx context.Context, s streams, log *slog.Logger) error {
	return c.look(ctx, log, func(b *broker.Broker, all []bus.Live) error {
		if err := printDifferences(s.out, all); err != nil {
			return err
		}
		if err := bus.Check(all...); err != nil {
			return fmt.Errorf("nothing was changed: %w", err)
		}
		if c.Yes {
			if err := bus.Change(ctx, b.Conn, all...); err != nil {
				return err
			}
		}
		return c.conclude(s.out, differing(all))
	})
}

func (c streamsApply) conclude(out io.Writer, n int) (err error) {
	switch {
	case n > 0 && c.Yes:
		_, err = human.Fprintf(out, "changed %d of them\n", n)
	case n > 0:
		_, err = human.Fprintln(out, "nothing was changed; add --yes to do it")
	}
	return err
}

// look calls do with the broker and its streams.
func (c dataFlags) look(ctx context.Context, log *slog.Logger, do func(*broker.Broker, []bus.Live) error,
) (err error) {
	if err := c.checkBrokerFolder(); err != nil {
		return err
	}
	b, err := broker.Open(ctx, c.broker(), c.Data, log)
	if errors.Is(err, embedded.ErrLocked) {
		return fmt.Errorf("a server runs on %s (%s), and its broker serves no other process: stop the server, "+
			"then try again", c.Data, claim.Holder(embedded.LockFile(broker.Dir(c.Data))))
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	all, err := bus.Look(ctx, b.Conn, bus.Config{Replicas: c.Replicas, EventsMaxBytes: int64(c.EventsMax)})
	if err != nil {
		return err
	}
	return do(b, all)
}

// checkBrokerFolder refuses a data folder without a broker, in which opening one would create it.
func (c dataFlags) checkBrokerFolder() error {
	if !c.NATS.Empty() {
		return nil
	}
	if _, err := os.Stat(broker.Dir(c.Data)); err != nil {
		return fmt.Errorf("%s has no broker: name the data folder of a server with --data, or the address of "+
			"its broker with --nats: %w", c.Data, err)
	}
	return nil
}

func printStreams(out io.Writer, all []bus.Live) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	human.Fprintf(w, "STREAM\tREPLICAS\tMESSAGES\tBYTES\tLIMIT\tFIRST\tLAST\n")
	for _, l := range all {
		switch {
		case l.Absent:
			human.Fprintf(w, "%s\tdoes not exist yet\n", l.Stream)
		case l.Consumer == "":
			limit := "none"
			if l.MaxBytes > 0 {
				limit = bytesize.Size(l.MaxBytes).String()
			}
			human.Fprintf(w, "%s\t%d\t%d\t%s\t%s\t%d\t%d\n",
				l.Stream, l.Replicas, l.Messages, bytesize.Size(l.Bytes), limit, l.First, l.Last)
		}
	}
	return w.Flush()
}

// printDifferences prints a line for each setting that differs from the flags.
func printDifferences(out io.Writer, all []bus.Live) error {
	for _, l := range all {
		for _, d := range l.Differences {
			if _, err := human.Fprintf(out, "%s: %s\n", l.Name(), d); err != nil {
				return err
			}
		}
	}
	if differing(all) == 0 {
		_, err := human.Fprintln(out, "nothing differs")
		return err
	}
	return nil
}

// differing counts the streams and consumers that differ.
func differing(all []bus.Live) (n int) {
	for _, l := range all {
		if len(l.Differences) > 0 {
			n++
		}
	}
	return n
}
