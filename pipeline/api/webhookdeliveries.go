package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/webhooks"
)

var (
	opListDeliveries = huma.Operation{
		OperationID: "list-webhook-deliveries", Method: http.MethodGet, Path: endpointsPath + "/{id}/deliveries",
		Tags: []string{"webhooks"}, Summary: "List the deliveries to an endpoint, those that changed last first",
		Description: "Each with its attempts: request headers, status, headers and first KiB of the answer, time " +
			"and error. They are kept for 30 days, and at most 1 GiB of all of them; the oldest go first. A " +
			"delivery that changes while pages are read is at the head of the list, and on no later page.",
	}
	opGetDelivery = huma.Operation{
		OperationID: "get-webhook-delivery", Method: http.MethodGet,
		Path: endpointsPath + "/{id}/deliveries/{delivery}",
		Tags: []string{"webhooks"}, Summary: "Read a delivery",
		Description: "With its body and its attempts.",
	}
	opRedeliver = huma.Operation{
		OperationID: "redeliver-webhook", Method: http.MethodPost,
		Path: endpointsPath + "/{id}/deliveries/{delivery}/redeliver",
		Tags: []string{"webhooks"}, Summary: "Send a delivery again", DefaultStatus: http.StatusAccepted,
		Description: "With the same `webhook-id` and body, and as many attempts as at first, " +
			"whatever became of it. An endpoint that is disabled is a `state_conflict`.",
	}
	opRedeliverAll = huma.Operation{
		OperationID: "redeliver-webhooks", Method: http.MethodPost, Path: endpointsPath + "/{id}/redeliver",
		Tags: []string{"webhooks"}, Summary: "Send the deliveries of a range of time again",
		DefaultStatus: http.StatusAccepted,
		Description: "Those that failed or were canceled, unless `status` says otherwise. The answer comes at " +
			"once, and the server sends them in the background. With `dry_run`, they are only counted.",
	}
)

type listDeliveriesInput struct {
	ID     string            `path:"id" maxLength:"64" doc:"The endpoint's id"`
	Limit  int               `query:"limit" minimum:"1" maximum:"100" default:"20" doc:"Deliveries on a page"`
	Cursor string            `query:"cursor" maxLength:"20" doc:"The next_cursor of the previous page"`
	Status []webhooks.Status `query:"status" maxItems:"4" enum:"pending,succeeded,failed,canceled" doc:"Only these, separated by commas"`
	Types  []string          `query:"types" maxItems:"32" doc:"Only events of these types, separated by commas"`
	After  time.Time         `query:"after" doc:"Only deliveries made at this time or later"`
	Before time.Time         `query:"before" doc:"Only deliveries made before this time"`
}

type deliveriesOutput struct{ Body list[webhooks.DeliveryRecord] }

func (s *server) listDeliveries(ctx context.Context, in *listDeliveriesInput) (*deliveriesOutput, error) {
	if err := checkTypes("/query/types", in.Types); err != nil {
		return nil, err
	}
	records, next, err := s.cfg.Webhooks.Deliveries(ctx, webhooks.Query{
		Project: projectOf(ctx), Endpoint: in.ID, Status: in.Status, Types: in.Types, After: in.After,
		Before: in.Before, Limit: in.Limit, Cursor: in.Cursor,
	})
	if errors.Is(err, webhooks.ErrCursor) {
		return nil, failAt("/query/cursor", codeCursor, "The cursor is not one that this list returned.")
	}
	if err != nil {
		return nil, noEndpoint(err)
	}
	return &deliveriesOutput{newList(records, next)}, nil
}

// checkTypes refuses unknown types of events.
func checkTypes(at string, types []string) error {
	known := []string{webhooks.TypeTest, webhooks.TypeDisabled}
	for _, t := range pipeline.HookEventTypes() {
		known = append(known, string(t))
	}
	for _, t := range types {
		if !slices.Contains(known, t) {
			return failAt(at, codeInvalid, "%s.", sentence(pipeline.Unknown("type of event", printable(t), known)))
		}
	}
	return nil
}

type deliveryInput struct {
	ID       string `path:"id" maxLength:"64" doc:"The endpoint's id"`
	Delivery string `path:"delivery" maxLength:"64" doc:"The delivery's id"`
}

func (s *server) getDelivery(ctx context.Context, in *deliveryInput) (*deliveryOutput, error) {
	if _, err := s.cfg.Webhooks.Get(ctx, projectOf(ctx), in.ID); err != nil {
		return nil, noEndpoint(err)
	}
	r, err := s.cfg.Webhooks.Delivery(ctx, projectOf(ctx), in.ID, in.Delivery)
	if err != nil {
		return nil, orUnavailable(noSuch("webhook delivery", err))
	}
	return &deliveryOutput{r}, nil
}

func (s *server) redeliver(ctx context.Context, in *deliveryInput) (*deliveryOutput, error) {
	if _, err := s.getDelivery(ctx, in); err != nil {
		return nil, err
	}
	r, err := s.cfg.Webhooks.Redeliver(ctx, projectOf(ctx), in.ID, in.Delivery)
	if err != nil {
		return nil, withRemedy(noSuch("webhook delivery", err), enableFirst)
	}
	return &deliveryOutput{r}, nil
}

// enableFirst is what to do about an endpoint that is disabled.
const enableFirst = "Enable the endpoint first."

type redeliverInput struct {
	ID   string `path:"id" maxLength:"64" doc:"The endpoint's id"`
	Body struct {
		_      struct{}          `additionalProperties:"false"`
		After  time.Time         `json:"after" doc:"Deliveries made at this time or later"`
		Before time.Time         `json:"before,omitzero" doc:"Deliveries made before this time; now when left out"`
		Status []webhooks.Status `json:"status,omitempty" enum:"pending,succeeded,failed,canceled" doc:"failed and canceled when left out"`
		Types  []string          `json:"types,omitempty" maxItems:"32" doc:"All types when left out"`
		DryRun bool              `json:"dry_run,omitempty" doc:"Only count"`
	}
}

// redelivered says how many deliveries are sent again.
type redelivered struct {
	Count  int  `json:"count" doc:"Deliveries that are sent again, or would be"`
	DryRun bool `json:"dry_run"`
}

type redeliveredOutput struct{ Body redelivered }

func (s *server) redeliverAll(ctx context.Context, in *redeliverInput) (*redeliveredOutput, error) {
	b := in.Body
	if err := checkTypes("/body/types", b.Types); err != nil {
		return nil, err
	}
	if len(b.Status) == 0 {
		b.Status = []webhooks.Status{webhooks.Failed, webhooks.Canceled}
	}
	n, err := s.cfg.Webhooks.RedeliverAll(ctx, webhooks.Query{
		Project: projectOf(ctx), Endpoint: in.ID, Status: b.Status, Types: b.Types,
		After: b.After, Before: b.Before,
	}, b.DryRun)
	if err != nil {
		return nil, withRemedy(noSuch("webhook endpoint", err), enableFirst)
	}
	return &redeliveredOutput{redelivered{n, b.DryRun}}, nil
}
