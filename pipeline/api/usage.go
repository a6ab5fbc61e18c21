package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/quota"
)

var opUsage = huma.Operation{
	OperationID: "usage", Method: http.MethodGet, Path: "/v1/usage", Tags: []string{"usage"},
	Summary: "Read what the project uses, and how it stands with its quotas",
	Description: "What it has now, what it did in a range of time, its limits, and how much of each quota it " +
		"has used. All numbers come from the event log. An operator names a project in X-Reelmill-Project.",
}

type usageInput struct {
	From time.Time `query:"from" doc:"Start of the range; the first of this month (UTC) when left out"`
	To   time.Time `query:"to" doc:"End of the range, which is not part of it; now when left out"`
}

type usageOutput struct{ Body quota.Report }

// usage answers GET /v1/usage.
func (s *server) usage(ctx context.Context, in *usageInput) (*usageOutput, error) {
	if !in.From.IsZero() && !in.To.IsZero() && !in.From.Before(in.To) {
		return nil, failAt("/query/from", codeInvalid, "The range begins at %s and ends at %s.",
			pipeline.Clock(in.From), pipeline.Clock(in.To))
	}
	report, err := s.cfg.Quotas.Report(ctx, projectOf(ctx), in.From, in.To)
	return &usageOutput{report}, err
}
