package pipeline

import "context"

// Who an event is by, besides key:<id>, user:<subject> and token:<id> (Event.Actor).
const (
	ActorSystem    = "system"           // what follows by itself: the coordinator, the sweeper, the janitor
	ActorAnonymous = "anonymous"        // a request to a server that asks for no credential
	ActorOperator  = "operator:offline" // a command that works on the event log itself
	actorWorker    = "worker:"
)

// WorkerActor returns the actor of the events of a worker type.
func WorkerActor(worker string) string { return actorWorker + worker }

type actorKey struct{}

// WithActor returns a context for what actor does: Append writes it into events.
func WithActor(ctx context.Context, actor string) context.Context {
	return context.WithValue(ctx, actorKey{}, actor)
}

// ActorOf returns the actor of ctx; ActorSystem when nobody set one.
func ActorOf(ctx context.Context) string {
	if a, ok := ctx.Value(actorKey{}).(string); ok && a != "" {
		return a
	}
	return ActorSystem
}

// Append appends e to log after a sequence, as Log.Append does, and returns it with its sequence. The event
// is by its Actor, or by that of ctx when it has none.
func Append(ctx context.Context, log Log, e Event, after uint64) (Event, error) {
	if e.Actor == "" {
		e.Actor = ActorOf(ctx)
	}
	var err error
	e.Sequence, err = log.Append(ctx, e, after)
	return e, err
}
