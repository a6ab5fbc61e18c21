package api

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/mail"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/webhooks"
)

const endpointsPath = "/v1/webhook_endpoints"

var (
	opCreateEndpoint = huma.Operation{
		OperationID: "create-webhook-endpoint", Method: http.MethodPost, Path: endpointsPath,
		Tags: []string{"webhooks"}, Summary: "Set up an endpoint that hears of events",
		DefaultStatus: http.StatusCreated,
		Description: "Every event that follows, and that `events` selects, is delivered to it at least once. A " +
			"`webhook` gets a POST as Standard Webhooks says (https://www.standardwebhooks.com), signed with the " +
			"`secret`, which is shown in this answer and never again. The `webhook-id` is the id of the event, and " +
			"the same in every attempt. Attempts go on for 75 hours: at once, then after 5 s, 5 min, 30 min, 2 h, " +
			"5 h, 10 h, 14 h, 20 h and 24 h. `Retry-After` of 429 and 503 counts, up to a day; 410 disables the " +
			"endpoint. An endpoint whose attempts all failed for five days is disabled, too; `disabled_reason` " +
			"says why.",
	}
	opListEndpoints = huma.Operation{
		OperationID: "list-webhook-endpoints", Method: http.MethodGet, Path: endpointsPath,
		Tags: []string{"webhooks"}, Summary: "List the endpoints, the oldest first",
		Description: "All of the project, without their secrets.",
	}
	opGetEndpoint = huma.Operation{
		OperationID: "get-webhook-endpoint", Method: http.MethodGet, Path: endpointsPath + "/{id}",
		Tags: []string{"webhooks"}, Summary: "Read an endpoint",
		Description: "Without its secret.",
	}
	opChangeEndpoint = huma.Operation{
		OperationID: "change-webhook-endpoint", Method: http.MethodPatch, Path: endpointsPath + "/{id}",
		Tags: []string{"webhooks"}, Summary: "Change an endpoint",
		Description: "What is left out stays. A key of `metadata` that is null is removed. " +
			"What is queued goes to " +
			"the new address; while the endpoint is disabled, it is canceled when its next attempt is due.",
	}
	opDeleteEndpoint = huma.Operation{
		OperationID: "delete-webhook-endpoint", Method: http.MethodDelete, Path: endpointsPath + "/{id}",
		Tags: []string{"webhooks"}, Summary: "Delete an endpoint",
		Description: "What is queued for it is not sent.",
	}
	opRotateSecret = huma.Operation{
		OperationID: "rotate-webhook-secret", Method: http.MethodPost, Path: endpointsPath + "/{id}/rotate_secret",
		Tags: []string{"webhooks"}, Summary: "Give an endpoint a new secret", DefaultStatus: http.StatusOK,
		Description: "The answer shows it, and no later one does. During `overlap`, " +
			"deliveries have the signatures of both secrets.",
	}
	opTestEndpoint = huma.Operation{
		OperationID: "test-webhook-endpoint", Method: http.MethodPost, Path: endpointsPath + "/{id}/test",
		Tags: []string{"webhooks"}, Summary: "Send a test to an endpoint, and answer what came of it",
		DefaultStatus: http.StatusOK,
		Description: "One attempt, at once, with made-up data, also to an endpoint that is disabled. It does not " +
			"count for `failing_since`.",
	}
)

type endpointInput struct {
	ID string `path:"id" maxLength:"64" doc:"The endpoint's id"`
}

type endpointOutput struct{ Body webhooks.EndpointView }

// newEndpoint is the body of a request for an endpoint.
type newEndpoint struct {
	_           struct{}          `additionalProperties:"false"`
	Kind        webhooks.Kind     `json:"kind,omitempty" enum:"webhook,email,nats" default:"webhook" doc:"webhook: a POST to url. email: a message to email. nats: a message on a subject of the server's broker"`
	URL         string            `json:"url,omitempty" maxLength:"2048" doc:"Of a webhook: http or https, on the public internet" example:"https://example.com/hooks/video"`
	Email       string            `json:"email,omitempty" maxLength:"254" doc:"Of an email endpoint: the address that gets the messages"`
	Subject     string            `json:"subject,omitempty" maxLength:"256" doc:"Of a nats endpoint: what follows reelmill.events and the project, such as videos.ready"`
	Events      []string          `json:"events" minItems:"1" maxItems:"64" doc:"Types of events; video.*, job.* and * are patterns" example:"[\"video.ready\",\"video.errored\"]"`
	Description string            `json:"description,omitempty" maxLength:"512"`
	Enabled     *bool             `json:"enabled,omitempty" default:"true"`
	Metadata    map[string]string `json:"metadata,omitempty" doc:"Returned as given"`
}

type createEndpointInput struct{ Body newEndpoint }

func (s *server) createEndpoint(ctx context.Context, in *createEndpointInput) (*endpointOutput, error) {
	b := in.Body
	e := webhooks.Endpoint{
		Project: projectOf(ctx), Kind: b.Kind, URL: b.URL, Email: b.Email, Subject: b.Subject, Events: b.Events,
		Description: b.Description, Enabled: b.Enabled == nil || *b.Enabled, Metadata: b.Metadata,
	}
	if e.Kind == "" {
		e.Kind = webhooks.Web
	}
	if err := s.checkEndpoint(e); err != nil {
		return nil, err
	}
	e, err := s.keepEndpoint(ctx, e)
	if errors.Is(err, webhooks.ErrFull) {
		f := fail(codeState, "%s.", sentence(err.Error()))
		f.remedy = "Delete an endpoint that is no longer needed."
		return nil, f
	}
	if f, ok := errors.AsType[*failure](err); ok {
		return nil, f
	}
	if err != nil {
		return nil, orUnavailable(err)
	}
	// Nothing may fail any more: whoever got no answer would make another endpoint. A new one has no health.
	return withSecret(webhooks.ViewOf(e, webhooks.Health{}, e.CreatedAt), e), nil
}

// keepEndpoint keeps a new endpoint. Its id is derived from the Idempotency-Key, so that a request whose
// answer was lost finds the endpoint that it has made. That of a key that is forgotten is another endpoint.
func (s *server) keepEndpoint(ctx context.Context, e webhooks.Endpoint) (webhooks.Endpoint, error) {
	if e.ID = derivedFor(ctx, "whe"); e.ID == "" {
		return s.cfg.Webhooks.Create(ctx, e)
	}
	made, err := s.cfg.Webhooks.Get(ctx, e.Project, e.ID)
	if errors.Is(err, pipeline.ErrNotFound) {
		made, err = s.cfg.Webhooks.Create(ctx, e)
		if !errors.Is(err, pipeline.ErrConflict) {
			return made, err
		}
		made, err = s.cfg.Webhooks.Get(ctx, e.Project, e.ID) // another try came first, or it is deleted
	}
	switch {
	case errors.Is(err, pipeline.ErrNotFound) || err == nil && time.Since(made.CreatedAt) > answerMemory:
		e.ID = ""
		return s.cfg.Webhooks.Create(ctx, e)
	case err == nil && !sameEndpoint(e, made):
		return e, failAt("/header/Idempotency-Key", codeKeyReused, "This key belongs to another request.")
	}
	return made, err
}

// sameEndpoint reports whether two endpoints were asked for with the same words.
func sameEndpoint(a, b webhooks.Endpoint) bool {
	return a.Kind == b.Kind && a.URL == b.URL && a.Email == b.Email && a.Subject == b.Subject &&
		a.Description == b.Description && slices.Equal(a.Events, b.Events) &&
		maps.Equal(a.Metadata, b.Metadata)
}

// checkEndpoint refuses an endpoint to which nothing could be delivered.
func (s *server) checkEndpoint(e webhooks.Endpoint) error {
	if err := webhooks.CheckEvents(e.Events); err != nil {
		return failAt("/body/events", codeInvalid, "%s.", sentence(err.Error()))
	}
	if !s.cfg.Webhooks.Delivers(e.Kind) {
		f := failAt("/body/kind", codeInvalid, "This server does not deliver to endpoints of kind %s.", e.Kind)
		f.remedy = "For e-mail, start the server with --smtp and --smtp-from."
		return f
	}
	if err := checkPlace(e); err != nil {
		return err
	}
	switch e.Kind {
	case webhooks.Web:
		if err := s.cfg.CheckWebhookURL(e.URL); err != nil {
			return failAt("/body/url", codeWebhookRefused, "%s.", sentence(detailOf(err)))
		}
	case webhooks.Email:
		if err := checkMailbox(e.Email); err != nil {
			return err
		}
	case webhooks.NATS:
		if err := webhooks.CheckSubject(e.Subject); err != nil {
			return failAt("/body/subject", codeInvalid, "%s.", sentence(err.Error()))
		}
	}
	if most := s.cfg.Limits.MaxMetadata; sizeOf(e.Metadata) > most {
		return failAt("/body/metadata", codeFieldTooLarge, "metadata has more than %d bytes.", most)
	}
	return nil
}

// checkPlace requires the one field that says where an endpoint of the kind is, and no other.
func checkPlace(e webhooks.Endpoint) error {
	places := []struct {
		field, value string
		kind         webhooks.Kind
	}{{"url", e.URL, webhooks.Web}, {"email", e.Email, webhooks.Email}, {"subject", e.Subject, webhooks.NATS}}
	for _, p := range places {
		switch {
		case p.kind == e.Kind && p.value == "":
			return failAt(pointer("body", p.field), codeInvalid, "An endpoint of kind %s needs %s.", e.Kind, p.field)
		case p.kind != e.Kind && p.value != "":
			return failAt(pointer("body", p.field), codeInvalid, "An endpoint of kind %s has no %s.", e.Kind, p.field)
		}
	}
	return nil
}

// checkMailbox requires a bare address, such as anna@example.com.
func checkMailbox(address string) error {
	parsed, err := mail.ParseAddress(address)
	if err != nil || parsed.Address != address || strings.ContainsAny(address, " \r\n\"<>,;:\\") {
		return failAt("/body/email", codeInvalid,
			"%.80q is not the address of a mailbox, such as anna@example.com.", printable(address))
	}
	return nil
}

// detailOf returns what an error says to people.
func detailOf(err error) string {
	if p, ok := errors.AsType[*pipeline.Error](err); ok {
		return p.Detail
	}
	return err.Error()
}

// viewed answers an endpoint.
func (s *server) viewed(ctx context.Context, e webhooks.Endpoint) (*endpointOutput, error) {
	v, err := s.cfg.Webhooks.View(ctx, e)
	if err != nil {
		return nil, orUnavailable(err)
	}
	return &endpointOutput{v}, nil
}

// withSecret answers an endpoint whose newest secret was made just now.
func withSecret(v webhooks.EndpointView, e webhooks.Endpoint) *endpointOutput {
	if len(e.Secrets) > 0 {
		v.Secret = e.Secrets[0].Value
	}
	return &endpointOutput{v}
}

type listEndpointsInput struct{}

type endpointsOutput struct{ Body list[webhooks.EndpointView] }

func (s *server) listEndpoints(ctx context.Context, _ *listEndpointsInput) (*endpointsOutput, error) {
	all, err := s.cfg.Webhooks.List(ctx, projectOf(ctx))
	if err != nil {
		return nil, orUnavailable(err)
	}
	views := make([]webhooks.EndpointView, len(all))
	for i, e := range all {
		if views[i], err = s.cfg.Webhooks.View(ctx, e); err != nil {
			return nil, orUnavailable(err)
		}
	}
	return &endpointsOutput{newList(views, "")}, nil
}

func (s *server) getEndpoint(ctx context.Context, in *endpointInput) (*endpointOutput, error) {
	e, err := s.cfg.Webhooks.Get(ctx, projectOf(ctx), in.ID)
	if err != nil {
		return nil, noEndpoint(err)
	}
	return s.viewed(ctx, e)
}

// noEndpoint names what is missing.
func noEndpoint(err error) error { return orUnavailable(noSuch("webhook endpoint", err)) }

// endpointPatch is a change of an endpoint. What is nil stays.
type endpointPatch struct {
	_           struct{}           `additionalProperties:"false"`
	URL         *string            `json:"url,omitempty" maxLength:"2048"`
	Email       *string            `json:"email,omitempty" maxLength:"254"`
	Subject     *string            `json:"subject,omitempty" maxLength:"256"`
	Events      []string           `json:"events,omitempty" minItems:"1" maxItems:"64"`
	Description *string            `json:"description,omitempty" maxLength:"512"`
	Enabled     *bool              `json:"enabled,omitempty"`
	Metadata    map[string]*string `json:"metadata,omitempty" doc:"A key that is null is removed"`
}

type changeEndpointInput struct {
	ID   string `path:"id" maxLength:"64" doc:"The endpoint's id"`
	Body endpointPatch
}

func (s *server) changeEndpoint(ctx context.Context, in *changeEndpointInput) (*endpointOutput, error) {
	e, err := s.cfg.Webhooks.Change(ctx, projectOf(ctx), in.ID, func(e *webhooks.Endpoint) error {
		in.Body.apply(e)
		return s.checkEndpoint(*e)
	})
	if err != nil {
		return nil, noEndpoint(err)
	}
	return s.viewed(ctx, e)
}

// apply changes an endpoint.
func (p endpointPatch) apply(e *webhooks.Endpoint) {
	set := func(to *string, from *string) {
		if from != nil {
			*to = *from
		}
	}
	set(&e.URL, p.URL)
	set(&e.Email, p.Email)
	set(&e.Subject, p.Subject)
	set(&e.Description, p.Description)
	if p.Events != nil {
		e.Events = p.Events
	}
	if p.Enabled != nil {
		e.Enabled = *p.Enabled
	}
	changed := map[string]string{}
	for key, value := range e.Metadata {
		changed[key] = value
	}
	for key, value := range p.Metadata {
		if value == nil {
			delete(changed, key)
		} else {
			changed[key] = *value
		}
	}
	e.Metadata = changed
}

func (s *server) deleteEndpoint(ctx context.Context, in *endpointInput) (*struct{}, error) {
	if err := s.cfg.Webhooks.Delete(ctx, projectOf(ctx), in.ID); err != nil {
		return nil, noEndpoint(err)
	}
	return nil, nil
}

// defaultOverlap and maxOverlap are for how long an old secret signs too.
const (
	defaultOverlap = 24 * time.Hour
	maxOverlap     = 7 * 24 * time.Hour
)

type rotateInput struct {
	ID   string `path:"id" maxLength:"64" doc:"The endpoint's id"`
	Body *struct {
		_       struct{} `additionalProperties:"false"`
		Overlap string   `json:"overlap,omitempty" default:"24h" doc:"How long the old secret signs too: 0s to 168h" example:"24h"`
	} `required:"false"`
}

func (s *server) rotateSecret(ctx context.Context, in *rotateInput) (*endpointOutput, error) {
	overlap := defaultOverlap
	if in.Body != nil && in.Body.Overlap != "" {
		d, err := time.ParseDuration(in.Body.Overlap)
		if err != nil || d < 0 || d > maxOverlap {
			return nil, failAt("/body/overlap", codeInvalid,
				"overlap is %.40q; write a time from 0s to 168h, such as 24h.", printable(in.Body.Overlap))
		}
		overlap = d
	}
	e, err := s.cfg.Webhooks.Rotate(ctx, projectOf(ctx), in.ID, overlap)
	if err != nil {
		return nil, noEndpoint(err)
	}
	v, err := s.cfg.Webhooks.View(ctx, e)
	if err != nil {
		return nil, orUnavailable(err)
	}
	return withSecret(v, e), nil
}

type testEndpointInput struct {
	ID   string `path:"id" maxLength:"64" doc:"The endpoint's id"`
	Body *struct {
		_    struct{} `additionalProperties:"false"`
		Type string   `json:"type,omitempty" maxLength:"64" default:"webhook_endpoint.test" doc:"Type of the event to play" example:"video.ready"`
	} `required:"false"`
}

type deliveryOutput struct{ Body webhooks.DeliveryRecord }

func (s *server) testEndpoint(ctx context.Context, in *testEndpointInput) (*deliveryOutput, error) {
	kind := webhooks.TypeTest
	if in.Body != nil && in.Body.Type != "" {
		kind = in.Body.Type
	}
	data, err := webhooks.Sample(kind, projectOf(ctx), s.cfg.PublicURL)
	if err != nil {
		return nil, failAt("/body/type", codeInvalid, "%s.", sentence(err.Error()))
	}
	r, err := s.cfg.Webhooks.Test(ctx, projectOf(ctx), in.ID, kind, data)
	if err != nil {
		return nil, noEndpoint(err)
	}
	return &deliveryOutput{r}, nil
}

// routeWebhooks adds the routes of endpoints and their deliveries.
func (s *server) routeWebhooks() {
	if s.cfg.Webhooks == nil {
		return
	}
	handle(s, opCreateEndpoint, s.createEndpoint)
	handle(s, opListEndpoints, s.listEndpoints)
	handle(s, opGetEndpoint, s.getEndpoint)
	handle(s, opChangeEndpoint, s.changeEndpoint)
	handle(s, opDeleteEndpoint, s.deleteEndpoint)
	handle(s, opRotateSecret, s.rotateSecret)
	handle(s, opTestEndpoint, s.testEndpoint)
	handle(s, opListDeliveries, s.listDeliveries)
	handle(s, opGetDelivery, s.getDelivery)
	handle(s, opRedeliver, s.redeliver)
	handle(s, opRedeliverAll, s.redeliverAll)
}
