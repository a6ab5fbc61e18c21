package workers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/reelmill/reelmill/pipeline"
)

// Type is a registered worker type with its parameter type erased.
type Type struct {
	Name   string
	Schema json.RawMessage // JSON Schema of its parameters, self-contained
	traits pipeline.Traits
	moved  func(pipeline.Job) (pipeline.Job, bool) // nil: the worker is no Mover
	slots  func(cores int) int
	check  func(ctx context.Context) error
	valid  func(raw json.RawMessage) error
	plan   func(raw json.RawMessage, m pipeline.Media) ([]pipeline.Job, error)
	work   func(ctx context.Context, a Attempt) (pipeline.Result, error)
	// describe is nil if the worker is no Describer.
	describe func(pipeline.Job, pipeline.Media) (Description, error)
}

// Registry holds the worker types of this process. It is a pipeline.Planner. Fill it before use.
type Registry struct {
	types map[string]Type
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry { return &Registry{types: map[string]Type{}} }

// Add registers w as the worker type name. It panics when the name is invalid or taken: that is a mistake in
// the program.
func Add[P any](r *Registry, name string, w Worker[P]) {
	if _, taken := r.types[name]; taken || !pipeline.ValidName(name) {
		panic(fmt.Sprintf("worker type %q is invalid or taken", name))
	}
	schema := huma.NewMapRegistry("#/$defs/", huma.DefaultSchemaNamer)
	params := huma.SchemaFromType(schema, reflect.TypeFor[P]())
	decode := func(raw json.RawMessage) (P, error) { return decodeParams[P](name, raw, schema, params) }
	t := Type{Name: name, Schema: schemaDocument(name, params, schema)}
	t.slots = defaultSlots
	if s, ok := any(w).(Slotter); ok {
		t.slots = s.Slots
	}
	if d, ok := any(w).(Declarer); ok {
		t.traits = d.Traits()
	}
	t.check = func(ctx context.Context) error {
		if c, ok := any(w).(Checker); ok {
			return c.Check(ctx)
		}
		return nil
	}
	if m, ok := any(w).(Mover); ok {
		t.moved = m.Moved
	}
	if d, ok := any(w).(Describer); ok {
		t.describe = d.Describe
	}
	t.valid = func(raw json.RawMessage) error { _, err := decode(raw); return err }
	t.plan = func(raw json.RawMessage, m pipeline.Media) ([]pipeline.Job, error) {
		p, err := decode(raw)
		if err != nil {
			return nil, err
		}
		return w.Plan(p, m)
	}
	t.work = func(ctx context.Context, a Attempt) (pipeline.Result, error) {
		p, err := decode(a.Task.Job.Params)
		if err != nil {
			return pipeline.Result{}, err
		}
		return w.Work(ctx, Job[P]{Params: p, Attempt: a})
	}
	r.types[name] = t
}

// schemaDocument encodes schema as a self-contained document: what it refers to is in its $defs.
func schemaDocument(worker string, schema *huma.Schema, defs huma.Registry) json.RawMessage {
	document := *schema
	if all := defs.Map(); len(all) > 0 {
		document.Extensions = map[string]any{"$defs": all}
	}
	raw, err := json.Marshal(&document)
	if err != nil {
		panic(fmt.Sprintf("schema of worker type %q: %v", worker, err))
	}
	return raw
}

// decodeParams validates raw (an object; empty means {}) against the schema and decodes it.
func decodeParams[P any](worker string, raw json.RawMessage, defs huma.Registry, schema *huma.Schema) (
	P, error,
) {
	var params P
	if len(raw) == 0 {
		raw = json.RawMessage("{}")
	}
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		return params, pipeline.Fail(pipeline.CodeParameters, "parameters of %s: %w", worker, err)
	}
	if err := checkNames(worker, value, schema); err != nil {
		return params, err
	}
	result := &huma.ValidateResult{}
	huma.Validate(defs, schema, huma.NewPathBuffer([]byte{}, 0), huma.ModeWriteToServer, value, result)
	if len(result.Errors) > 0 {
		wrong := result.Errors[0]
		if d, ok := errors.AsType[*huma.ErrorDetail](wrong); ok && d.Location == "" {
			wrong = errors.New(d.Message) // about the whole object, such as a missing parameter
		}
		return params, pipeline.Fail(pipeline.CodeParameters, "parameters of %s: %w", worker, wrong)
	}
	if err := json.Unmarshal(raw, &params); err != nil {
		return params, pipeline.Fail(pipeline.CodeParameters, "parameters of %s: %w", worker, err)
	}
	return params, nil
}

// checkNames refuses parameters that the schema does not have; the error names those that it has.
func checkNames(worker string, value any, schema *huma.Schema) error {
	object, ok := value.(map[string]any)
	if !ok || schema.Properties == nil {
		return nil // the validation reports it
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if _, known := schema.Properties[name]; !known {
			return pipeline.Fail(pipeline.CodeParameters, "%s",
				pipeline.Unknown("parameter of "+worker, name, slices.Collect(maps.Keys(schema.Properties))))
		}
	}
	return nil
}

// Types returns the registered types, sorted by name.
func (r *Registry) Types() []Type {
	types := make([]Type, 0, len(r.types))
	for _, name := range slices.Sorted(maps.Keys(r.types)) {
		types = append(types, r.types[name])
	}
	return types
}

// Type returns a registered type. Its error has CodeWorkerTypeUnknown and names the types that there are.
func (r *Registry) Type(name string) (Type, error) { return r.lookup(name) }

// Plan implements pipeline.Planner.
func (r *Registry) Plan(worker string, params json.RawMessage, m pipeline.Media) ([]pipeline.Job, error) {
	t, err := r.lookup(worker)
	if err != nil {
		return nil, err
	}
	return t.plan(params, m)
}

// Check implements pipeline.Planner.
func (r *Registry) Check(worker string, params json.RawMessage) error {
	t, err := r.lookup(worker)
	if err != nil {
		return err
	}
	return t.valid(params)
}

// Traits implements pipeline.Planner.
func (r *Registry) Traits() map[string]pipeline.Traits {
	traits := make(map[string]pipeline.Traits, len(r.types))
	for name, t := range r.types {
		traits[name] = t.traits
	}
	return traits
}

// Describe returns what a job of a plan for m is to do. For a worker that is no Describer it returns the zero
// Description. Its error has CodeWorkerTypeUnknown if the type is not registered, and CodeParameters if the
// job is not one that its worker plans.
func (r *Registry) Describe(job pipeline.Job, m pipeline.Media) (Description, error) {
	t, job, err := r.owner(job)
	if err != nil || t.describe == nil {
		return Description{}, err
	}
	return t.describe(job, m)
}

// Work runs one attempt. The worker loop and the conformance kit call it.
func (r *Registry) Work(ctx context.Context, a Attempt) (pipeline.Result, error) {
	t, job, err := r.owner(a.Task.Job)
	if err != nil {
		return pipeline.Result{}, err
	}
	a.Task.Job = job
	return t.work(ctx, a)
}

// owner returns the type that does job today, and job as one of that type (see Mover).
func (r *Registry) owner(job pipeline.Job) (Type, pipeline.Job, error) {
	t, err := r.lookup(job.Worker)
	if err != nil || t.moved == nil {
		return t, job, err
	}
	if moved, ok := t.moved(job); ok {
		return r.owner(moved)
	}
	return t, job, nil
}

// CheckMachine returns what workers miss on this machine, by type (see Checker).
func (r *Registry) CheckMachine(ctx context.Context) map[string]error {
	missing := map[string]error{}
	for name, t := range r.types {
		if err := t.check(ctx); err != nil {
			missing[name] = err
		}
	}
	return missing
}

func (r *Registry) lookup(worker string) (Type, error) {
	t, ok := r.types[worker]
	if !ok {
		return Type{}, pipeline.Fail(pipeline.CodeWorkerTypeUnknown, "%s",
			pipeline.Unknown("worker type", worker, slices.Collect(maps.Keys(r.types))))
	}
	return t, nil
}
