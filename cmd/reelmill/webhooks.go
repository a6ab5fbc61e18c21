package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/human"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/webhooks"
)

// webhooksCommand groups the commands about webhook endpoints.
type webhooksCommand struct {
	List       webhooksList       `cmd:"" help:"List the endpoints that hear of events."`
	Get        webhooksGet        `cmd:"" help:"Show an endpoint."`
	Create     webhooksCreate     `cmd:"" help:"Set up an endpoint, and print its secret."`
	Update     webhooksUpdate     `cmd:"" help:"Change an endpoint, enable or disable it."`
	Delete     webhooksDelete     `cmd:"" help:"Delete an endpoint. What is queued for it is not sent."`
	Rotate     webhooksRotate     `cmd:"" help:"Give an endpoint a new secret, and print it."`
	Test       webhooksTest       `cmd:"" help:"Send a test to an endpoint, and print what came of it."`
	Deliveries webhooksDeliveries `cmd:"" help:"List the deliveries to an endpoint, those that changed last first."`
	Redeliver  webhooksRedeliver  `cmd:"" help:"Send deliveries again."`
}

// endpointArg names an endpoint.
type endpointArg struct {
	ID string `arg:"" help:"Id of the endpoint, such as whe_7k2...; reelmill webhooks list shows them."`
}

// Validate is called by kong.
func (a endpointArg) Validate() error { return checkID(a.ID, "a webhook endpoint", "whe_") }

// placeFlags say where an endpoint is.
type placeFlags struct {
	URL     webURL `help:"URL that gets the events." secret:"address"`
	Email   string `help:"Address that gets the events by e-mail."`
	Subject string `help:"Subject of NATS that gets the events, below reelmill.events and the project."`
}

type webhooksList struct{ serverFlags }

// Run lists the endpoints.
func (c webhooksList) Run(ctx context.Context, s streams) error {
	all, err := c.client().Endpoints(ctx)
	if err != nil {
		return err
	}
	return c.print(s, all, func(w io.Writer) {
		if len(all) == 0 {
			human.Fprintln(w, "There are no endpoints. Set one up: "+
				"reelmill webhooks create --url URL --events video.ready")
			return
		}
		human.Fprintf(w, "ID\tSTATE\tPLACE\tEVENTS\tDESCRIPTION\n")
		for _, e := range all {
			human.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", e.ID, stateOf(e), placeOf(e), strings.Join(e.Events, ","),
				e.Description)
		}
	})
}

// stateOf describes whether an endpoint gets anything.
func stateOf(e webhooks.EndpointView) string {
	switch {
	case e.Disabled != nil:
		return "disabled: " + e.Disabled.Code
	case !e.Enabled:
		return "disabled"
	case e.FailingSince != nil:
		return "failing"
	}
	return "enabled"
}

// placeOf returns where an endpoint is.
func placeOf(e webhooks.EndpointView) string { return e.URL + e.Email + e.Subject }

// show prints an endpoint.
func (f serverFlags) show(s streams, e webhooks.EndpointView) error {
	return f.print(s, e, func(w io.Writer) {
		human.Fprintf(w, "id\t%s\nkind\t%s\nplace\t%s\nevents\t%s\nstate\t%s\n", e.ID, e.Kind, placeOf(e),
			strings.Join(e.Events, ","), stateOf(e))
		if e.Description != "" {
			human.Fprintf(w, "description\t%s\n", e.Description)
		}
		if e.Disabled != nil {
			human.Fprintf(w, "disabled\t%s (%s)\n", e.Disabled.Detail, pipeline.Clock(e.Disabled.At))
		}
		if e.FailingSince != nil {
			human.Fprintf(w, "failing since\t%s\n", pipeline.Clock(*e.FailingSince))
		}
		if e.Secret != "" {
			human.Fprintf(w, "secret\t%s\n", e.Secret)
		}
	})
}

// keepSecret tells people what to do with a secret that is not shown again.
func keepSecret(s streams) {
	human.Fprintln(s.err, "Keep the secret: it is not shown again. The receiver checks signatures with it.")
}

type webhooksGet struct {
	serverFlags
	endpointArg
}

// Run shows an endpoint.
func (c webhooksGet) Run(ctx context.Context, s streams) error {
	e, err := c.client().Endpoint(ctx, c.ID)
	if err != nil {
		return err
	}
	return c.show(s, e)
}

type webhooksCreate struct {
	serverFlags
	placeFlags
	Events      []string `help:"Types of events, with commas between them; video.*, job.* and * are patterns." required:""`
	Description string   `help:"What the endpoint is for."`
}

// Run sets up an endpoint.
func (c webhooksCreate) Run(ctx context.Context, s streams) error {
	asked := client.NewEndpoint{
		URL: string(c.URL), Email: c.Email, Subject: c.Subject, Events: c.Events, Description: c.Description,
	}
	switch {
	case c.Email != "":
		asked.Kind = webhooks.Email
	case c.Subject != "":
		asked.Kind = webhooks.NATS
	case c.URL == "":
		return usageError{errors.New("say where the events go: --url, --email or --subject")}
	}
	e, err := c.client().CreateEndpoint(ctx, asked)
	if err != nil {
		return err
	}
	if e.Secret != "" {
		defer keepSecret(s)
	}
	return c.show(s, e)
}

type webhooksUpdate struct {
	serverFlags
	endpointArg
	placeFlags
	Events      []string `help:"Types of events, instead of those that it has."`
	Description *string  `help:"What the endpoint is for."`
	Enable      bool     `help:"Deliver again, after the endpoint was disabled." xor:"enabled"`
	Disable     bool     `help:"Deliver nothing." xor:"enabled"`
}

// Run changes an endpoint.
func (c webhooksUpdate) Run(ctx context.Context, s streams) error {
	change := client.EndpointChange{Events: c.Events, Description: c.Description}
	set := func(to **string, value string) {
		if value != "" {
			*to = &value
		}
	}
	set(&change.URL, string(c.URL))
	set(&change.Email, c.Email)
	set(&change.Subject, c.Subject)
	if c.Enable || c.Disable {
		change.Enabled = &c.Enable
	}
	e, err := c.client().ChangeEndpoint(ctx, c.ID, change)
	if err != nil {
		return err
	}
	return c.show(s, e)
}

type webhooksDelete struct {
	serverFlags
	endpointArg
}

// Run deletes an endpoint.
func (c webhooksDelete) Run(ctx context.Context, s streams) error {
	if err := c.client().DeleteEndpoint(ctx, c.ID); err != nil {
		return err
	}
	gone := map[string]any{"id": c.ID, "deleted": true}
	return c.print(s, gone, func(w io.Writer) { human.Fprintln(w, c.ID, "is deleted") })
}

type webhooksRotate struct {
	serverFlags
	endpointArg
	Overlap time.Duration `help:"How long the old secret signs too, at most 168h." default:"24h"`
}

// Run gives an endpoint a new secret.
func (c webhooksRotate) Run(ctx context.Context, s streams) error {
	e, err := c.client().RotateSecret(ctx, c.ID, c.Overlap)
	if err != nil {
		return err
	}
	defer keepSecret(s)
	return c.show(s, e)
}

type webhooksTest struct {
	serverFlags
	endpointArg
	Type string `help:"Type of the event to play." default:"webhook_endpoint.test"`
}

// Run sends a test. It is an error when the receiver does not accept it.
func (c webhooksTest) Run(ctx context.Context, s streams) error {
	r, err := c.client().TestEndpoint(ctx, c.ID, c.Type)
	if err != nil {
		return err
	}
	return errors.Join(c.print(s, r, func(w io.Writer) { printAttempts(w, r) }), refusedBy(r))
}

// refusedBy returns why the last attempt of a delivery failed, or nil.
func refusedBy(r webhooks.DeliveryRecord) error {
	if n := len(r.Attempts); r.Status == webhooks.Failed && n > 0 {
		return fmt.Errorf("the delivery to %s failed: %s", r.Endpoint, r.Attempts[n-1].Error)
	}
	return nil
}

// printAttempts prints a line for each attempt of a delivery.
func printAttempts(w io.Writer, r webhooks.DeliveryRecord) {
	for _, a := range r.Attempts {
		outcome := a.Error
		if outcome == "" {
			outcome = fmt.Sprintf("accepted with %d", a.Status)
		}
		human.Fprintf(w, "%s\t%s\t%s\t%d ms\t%s\n", pipeline.Clock(a.At), r.Type, r.ID, a.Millis, outcome)
	}
}

type webhooksDeliveries struct {
	serverFlags
	endpointArg
	deliveryFlags
	Limit  int    `help:"List at most this many, 1 to 100." default:"20"`
	Cursor string `help:"Continue an earlier list; it printed this cursor."`
}

// deliveryFlags select deliveries.
type deliveryFlags struct {
	Status []string  `help:"Only these: pending, succeeded, failed, canceled." enum:"pending,succeeded,failed,canceled"`
	Types  []string  `help:"Only events of these types."`
	After  time.Time `help:"Only deliveries made at this time or later, such as 2026-05-01T12:00:00Z."`
	Before time.Time `help:"Only deliveries made before this time."`
}

func (f deliveryFlags) options() client.DeliveryOptions {
	o := client.DeliveryOptions{Types: f.Types, After: f.After, Before: f.Before}
	for _, s := range f.Status {
		o.Status = append(o.Status, webhooks.Status(s))
	}
	return o
}

// Run lists deliveries.
func (c webhooksDeliveries) Run(ctx context.Context, s streams) error {
	o := c.options()
	o.Limit, o.Cursor = c.Limit, c.Cursor
	records, next, err := c.client().Deliveries(ctx, c.ID, o)
	if err != nil {
		return err
	}
	defer pageFlags{}.more(s, next)
	return c.print(s, records, func(w io.Writer) {
		if len(records) == 0 {
			human.Fprintln(w, "There are no such deliveries.")
			return
		}
		human.Fprintf(w, "ID\tSTATUS\tTYPE\tATTEMPTS\tMADE\tNEXT\tLAST ANSWER\n")
		for _, r := range records {
			next, last := "-", "-"
			if r.Next != nil {
				next = pipeline.Clock(*r.Next)
			}
			if n := len(r.Attempts); n > 0 {
				last = fmt.Sprintf("%d %s", r.Attempts[n-1].Status, r.Attempts[n-1].Error)
			}
			human.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\t%.60s\n", r.ID, r.Status, r.Type, r.Done,
				pipeline.Clock(r.CreatedAt), next, last)
		}
	})
}

type webhooksRedeliver struct {
	serverFlags
	endpointArg
	Deliveries []string `arg:"" optional:"" name:"delivery" help:"Ids, from reelmill webhooks deliveries."`
	deliveryFlags
	DryRun bool `help:"Only count what --after and the other flags select."`
}

// Run sends deliveries again: those that are named, or those that the flags select.
func (c webhooksRedeliver) Run(ctx context.Context, s streams) error {
	switch named := len(c.Deliveries) > 0; {
	case named && !c.After.IsZero():
		return usageError{errors.New("name deliveries or say --after, not both")}
	case !named && c.After.IsZero():
		return usageError{errors.New("name deliveries, or say from when on with --after")}
	case !named:
		return c.all(ctx, s)
	}
	for _, id := range c.Deliveries {
		r, err := c.client().Redeliver(ctx, c.ID, id)
		if err != nil {
			return fmt.Errorf("redeliver %s: %w", id, err)
		}
		if err := c.print(s, r, func(w io.Writer) { human.Fprintln(w, r.ID, "is sent again") }); err != nil {
			return err
		}
	}
	return nil
}

// all sends again what the flags select.
func (c webhooksRedeliver) all(ctx context.Context, s streams) error {
	n, err := c.client().RedeliverAll(ctx, c.ID, c.options(), c.DryRun)
	if err != nil {
		return err
	}
	verb := "are sent again"
	if c.DryRun {
		verb = "would be sent again"
	}
	answer := map[string]any{"count": n, "dry_run": c.DryRun}
	return c.print(s, answer, func(w io.Writer) { human.Fprintln(w, "deliveries that "+verb+":", n) })
}

// triggerCommand plays an event to endpoints.
type triggerCommand struct {
	serverFlags
	Type      string   `arg:"" help:"Type of the event to play, such as video.ready."`
	Endpoints []string `name:"endpoint" help:"Id of an endpoint. Default: all that are enabled and want the type."`
}

// Run sends a made-up event to each endpoint. It is an error when a receiver does not accept it.
func (c triggerCommand) Run(ctx context.Context, s streams) error {
	ids := c.Endpoints
	if len(ids) == 0 {
		all, err := c.client().Endpoints(ctx)
		if err != nil {
			return err
		}
		for _, e := range all {
			if (webhooks.Endpoint{Enabled: e.Enabled, Events: e.Events}).Wants(c.Type) {
				ids = append(ids, e.ID)
			}
		}
	}
	if len(ids) == 0 {
		return fmt.Errorf("no endpoint is enabled and wants %s; name one with --endpoint", c.Type)
	}
	var failed error
	for _, id := range ids {
		r, err := c.client().TestEndpoint(ctx, id, c.Type)
		if err != nil {
			return fmt.Errorf("trigger %s at %s: %w", c.Type, id, err)
		}
		err = c.print(s, r, func(w io.Writer) { printAttempts(w, r) })
		failed = errors.Join(failed, err, refusedBy(r))
	}
	return failed
}
