package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/reelmill/reelmill/pipeline/stats"
	"github.com/reelmill/reelmill/storage/catalog"
)

// statsRange is the default length of the range.
const statsRange = time.Hour

var opStats = huma.Operation{
	OperationID: "stats", Method: http.MethodGet, Path: "/v1/stats", Tags: []string{"stats"},
	Summary: "Count what happened, window by window",
	Description: "Of the project: throughput, failures by code, time to playable and ready, speed of " +
		"encoding. The range is moved out to the edges of windows.",
}

type statsInput struct {
	Window string    `query:"window" enum:"1m,5m" default:"1m" doc:"Length of a window"`
	From   time.Time `query:"from" doc:"RFC 3339; an hour before to when left out"`
	To     time.Time `query:"to" doc:"RFC 3339, itself left out; now when left out"`
}

type statsOutput struct{ Body stats.Stats }

func (s *server) stats(ctx context.Context, in *statsInput) (*statsOutput, error) {
	q := catalog.StatsQuery{Project: projectOf(ctx), Window: time.Minute, From: in.From, To: in.To}
	if in.Window == "5m" {
		q.Window = 5 * time.Minute
	}
	if q.To.IsZero() {
		q.To = time.Now().UTC()
	}
	if q.From.IsZero() {
		q.From = q.To.Add(-statsRange)
	}
	stats, err := s.cfg.Stats.Stats(ctx, q)
	if errors.Is(err, catalog.ErrRange) {
		why := strings.TrimPrefix(err.Error(), catalog.ErrRange.Error()+": ")
		return nil, failAt("/query/from", codeInvalid, "The range cannot be counted: %.200s.", why)
	}
	if err != nil {
		return nil, err
	}
	return &statsOutput{stats}, nil
}
