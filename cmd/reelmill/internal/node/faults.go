//go:build !chaos

package node

import (
	"context"
	"log/slog"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/workers"
)

// faults wraps the parts of a node. In a build with the tag chaos it kills the process, and makes operations
// fail, repeat, come late and out of order (faults_chaos.go). In any other build it does nothing.
type faults struct{}

func newFaults(*slog.Logger) (faults, error) { return faults{}, nil }

func (faults) log(l pipeline.Log) pipeline.Log       { return l }
func (faults) tasks(t pipeline.Tasks) pipeline.Tasks { return t }
func (faults) queue(q workers.Tasks) workers.Tasks   { return q }
func (faults) store(s storage.Store) storage.Store   { return s }
func (faults) workers(*workers.Registry)             {}

func (faults) apply(f applyFunc) applyFunc    { return f }
func (faults) handle(f handleFunc) handleFunc { return f }

// applyFunc folds events into the read model; handleFunc acts on one event.
type (
	applyFunc  = func(context.Context, []pipeline.Event) error
	handleFunc = func(context.Context, pipeline.Event) error
)
