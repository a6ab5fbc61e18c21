//go:build !chaos

package node

import (
	"context"
	"log/slog"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/workers"
)

// faults stands between the parts of a node. In a build with the tag chaos it kills the process, fails,
// doubles, delays and reorders on command (faults_chaos.go); in every other build it is nothing.
type faults struct{}

func newFaults(*slog.Logger) (faults, error) { return faults{}, nil }

func (faults) log(l pipeline.Log) pipeline.Log       { return l }
func (faults) tasks(t pipeline.Tasks) pipeline.Tasks { return t }
func (faults) queue(q workers.Tasks) workers.Tasks   { return q }
func (faults) store(s storage.Store) storage.Store   { return s }
func (faults) workers(*workers.Registry)             {}

func (faults) apply(f applyFunc) applyFunc    { return f }
func (faults) handle(f handleFunc) handleFunc { return f }

// applyFunc folds events into the read model, handleFunc does what follows from one.
type (
	applyFunc  = func(context.Context, []pipeline.Event) error
	handleFunc = func(context.Context, pipeline.Event) error
)
