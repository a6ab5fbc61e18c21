package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/human"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/all"
)

// workersCommand groups the commands about worker types.
type workersCommand struct {
	List typesList `cmd:"" help:"List the worker types."`
	Show typesShow `cmd:"" help:"Show the parameters of a worker type."`
}

type typesList struct{ output }

// Run lists the worker types.
func (c typesList) Run(s streams) error {
	names, err := typeNames()
	if err != nil {
		return err
	}
	return c.print(s, names, func(w io.Writer) {
		human.Fprintln(w, human.Lines(strings.Join(names, "\n")))
	})
}

func typeNames() ([]string, error) {
	registry, err := all.New(all.Config{})
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, t := range registry.Types() {
		names = append(names, t.Name)
	}
	return names, nil
}

type typesShow struct {
	output
	Type string `arg:"" help:"The worker type, such as watermark."`
}

// Run prints the parameters of a worker type, from their schema.
func (c typesShow) Run(s streams) error {
	registry, err := all.New(all.Config{})
	if err != nil {
		return err
	}
	t, err := registry.Type(c.Type)
	if err != nil {
		return usageError{err}
	}
	params, err := parametersOf(t)
	if err != nil {
		return err
	}
	return c.print(s, t.Schema, func(w io.Writer) {
		if len(params) == 0 {
			human.Fprintf(w, "%s takes no parameters.\n", t.Name)
			return
		}
		human.Fprintf(w, "PARAMETER\tTYPE\tALLOWED\tMEANING\n")
		for _, name := range slices.Sorted(maps.Keys(params)) {
			p := params[name]
			human.Fprintf(w, "%s\t%s\t%s\t%s\n", name, p.kind(), p.allowed(), p.Description)
		}
	})
}

// parameter is a property in a JSON Schema.
type parameter struct {
	Type        any        `json:"type"` // a name, or several
	Description string     `json:"description"`
	Enum        []any      `json:"enum"`
	Minimum     *float64   `json:"minimum"`
	Maximum     *float64   `json:"maximum"`
	MaxLength   *int       `json:"maxLength"`
	Items       *parameter `json:"items"`
}

func parametersOf(t workers.Type) (map[string]parameter, error) {
	var schema struct {
		Properties map[string]parameter `json:"properties"`
	}
	if err := json.Unmarshal(t.Schema, &schema); err != nil {
		return nil, fmt.Errorf("schema of %s: %w", t.Name, err)
	}
	delete(schema.Properties, "$schema")
	return schema.Properties, nil
}

// kind names the type: number, or list of string.
func (p parameter) kind() string {
	name := fmt.Sprint(p.Type)
	if names, ok := p.Type.([]any); ok && len(names) > 0 {
		name = fmt.Sprint(names[0]) // the other one is null
	}
	if name == "array" && p.Items != nil {
		return "list of " + p.Items.kind()
	}
	return name
}

// allowed says which values the parameter takes.
func (p parameter) allowed() string {
	switch {
	case len(p.Enum) > 0:
		words := make([]string, len(p.Enum))
		for i, v := range p.Enum {
			words[i] = fmt.Sprint(v)
		}
		return strings.Join(words, ", ")
	case p.Minimum != nil && p.Maximum != nil:
		return fmt.Sprintf("%g to %g", *p.Minimum, *p.Maximum)
	case p.MaxLength != nil:
		return fmt.Sprintf("up to %d characters", *p.MaxLength)
	}
	return "any"
}
