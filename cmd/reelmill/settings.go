package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/secret"
)

// settings is the configuration file: flags by name, and pipelines. As a kong.Resolver it comes after flags
// and environment, and before defaults.
type settings struct {
	path      string
	values    map[string]any
	Pipelines []pipeline.Pipeline
	warnings  []string // about files with secrets, for the log
}

// dropEmptyVariables unsets empty variables of ReelMill: a script or a unit file may pass on a variable
// without a value.
func dropEmptyVariables() error {
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		if value != "" || !strings.HasPrefix(name, "REELMILL_") {
			continue
		}
		if err := os.Unsetenv(name); err != nil {
			return fmt.Errorf("unset %s: %w", name, err)
		}
	}
	return nil
}

// loadSettings reads the file named by --config or REELMILL_CONFIG; without one, the settings are empty. It
// looks for the flag itself, since the file is read before the flags.
func loadSettings(args []string) (*settings, error) {
	s := &settings{path: os.Getenv("REELMILL_CONFIG")}
	for i, a := range args {
		if value, ok := strings.CutPrefix(a, "--config="); ok {
			s.path = value
		} else if a == "--config" && i+1 < len(args) {
			s.path = args[i+1]
		}
	}
	if s.path == "" {
		return s, nil
	}
	raw, err := os.ReadFile(s.path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return s, s.parse(raw)
}

func (s *settings) parse(raw []byte) error {
	if err := yaml.Unmarshal(raw, &s.values); err != nil {
		if _, ok := errors.AsType[*yaml.TypeError](err); ok { // it quotes the text, which may be a secret
			err = errors.New("it is not a list of settings; write lines such as data: /var/lib/reelmill")
		}
		return fmt.Errorf("configuration %s: %w", s.path, err)
	}
	var file struct {
		Pipelines []pipeline.Pipeline `yaml:"pipelines"`
		Rest      map[string]any      `yaml:",inline"`
	}
	d := yaml.NewDecoder(bytes.NewReader(raw))
	d.KnownFields(true)
	if err := d.Decode(&file); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("configuration %s: %w", s.path, plainly(err))
	}
	s.Pipelines = file.Pipelines
	delete(s.values, "pipelines")
	return nil
}

// unknownField matches the error of the YAML decoder for an unknown key of a pipeline or a step.
var unknownField = regexp.MustCompile(`^(line \d+): field (\S+) not found in type pipeline\.(\w+)$`)

// notSeconds matches the error of the YAML decoder for a duration such as 5m.
var notSeconds = regexp.MustCompile("^(line \\d+): cannot unmarshal \\S+ (`.*`) into pipeline\\.Seconds$")

// plainly lists the known keys, where the YAML decoder names a Go type.
func plainly(err error) error {
	var mistakes *yaml.TypeError
	if !errors.As(err, &mistakes) {
		return err
	}
	var texts []string
	for _, text := range mistakes.Errors {
		if m := unknownField.FindStringSubmatch(text); m != nil {
			kind, known := "key of a pipeline", yamlKeys[pipeline.Pipeline]()
			if m[3] == "Step" {
				kind, known = "key of a step", yamlKeys[pipeline.Step]()
			}
			text = m[1] + ": " + pipeline.Unknown(kind, m[2], known)
		}
		texts = append(texts, notSeconds.ReplaceAllString(text,
			"$1: $2 is not a number of seconds; write one such as 300"))
	}
	return errors.New(strings.Join(texts, "; "))
}

// yamlKeys returns the keys of T in a YAML file.
func yamlKeys[T any]() (names []string) {
	for field := range reflect.TypeFor[T]().Fields() {
		names = append(names, field.Tag.Get("yaml"))
	}
	return names
}

// check refuses keys that are no flags. Otherwise a misspelt setting would silently have no effect.
func (s *settings) check(model *kong.Application) error {
	known := map[string]bool{}
	var collect func(n *kong.Node)
	collect = func(n *kong.Node) {
		for _, f := range n.Flags {
			known[f.Name] = true
		}
		for _, c := range n.Children {
			collect(c)
		}
	}
	collect(model.Node)
	var mistakes []error
	for _, key := range slices.Sorted(maps.Keys(s.values)) {
		if !known[flagName(key)] {
			mistakes = append(mistakes,
				fmt.Errorf("configuration %s: %s", s.path, pipeline.Unknown("key", key, keys(model))))
		}
	}
	return errors.Join(mistakes...)
}

// keys returns the keys that a configuration file is for: the flags of serve, and pipelines.
func keys(model *kong.Application) []string {
	names := []string{"pipelines"}
	for _, n := range append([]*kong.Node{model.Node}, model.Children...) {
		if n != model.Node && n.Name != "serve" {
			continue
		}
		for _, f := range n.Flags {
			if (!f.Hidden || holdsSecret(f)) && f.Name != "help" && f.Name != "version" && f.Name != "config" {
				names = append(names, strings.ReplaceAll(f.Name, "-", "_"))
			}
		}
	}
	return names
}

// flagName returns the flag of a key: webhook_url and webhook-url are both --webhook-url.
func flagName(key string) string { return strings.ReplaceAll(key, "_", "-") }

// Validate implements kong.Resolver.
func (s *settings) Validate(*kong.Application) error { return nil }

// Resolve implements kong.Resolver. It leaves a flag alone whose environment variable is set.
func (s *settings) Resolve(ctx *kong.Context, path *kong.Path, flag *kong.Flag) (any, error) {
	if holdsSecret(flag) {
		return s.resolveSecret(ctx, path, flag)
	}
	for _, name := range flag.Envs {
		if _, set := os.LookupEnv(name); set {
			return nil, nil
		}
	}
	if value, key := s.value(flag.Name); key != "" {
		return flagValue(value), nil
	}
	return nil, nil
}

// value returns the value of a flag in the file, and its key there; an empty key if there is none.
func (s *settings) value(flag string) (value any, key string) {
	for key, value := range s.values {
		if flagName(key) == flag {
			return value, key
		}
	}
	return nil, ""
}

// flagValue turns a YAML value into one for kong's mappers: a map becomes k=v;k=v.
func flagValue(value any) any {
	m, ok := value.(map[string]any)
	if !ok {
		return value
	}
	var pairs []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		pairs = append(pairs, fmt.Sprintf("%s=%v", k, m[k]))
	}
	return strings.Join(pairs, ";")
}

// pipelines returns the default pipeline and those of the file, by name. The file may replace the default.
func (s *settings) pipelines(planner pipeline.Planner) (map[string]pipeline.Pipeline, error) {
	byName := map[string]pipeline.Pipeline{pipeline.DefaultPipeline: pipeline.Default()}
	for _, p := range s.Pipelines {
		if p.Version == 0 {
			p.Version = 1
		}
		byName[p.Name] = p
	}
	for _, p := range byName {
		if err := p.Validate(planner); err != nil {
			return nil, usageError{err}
		}
	}
	return byName, nil
}

// newLogger returns the log of the program. It hides the secrets of addresses; the text handler quotes and
// escapes whatever a terminal would act on.
func newLogger(w io.Writer, level string) *slog.Logger {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		l = slog.LevelInfo
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: l, ReplaceAttr: redact}))
}

// redact hides the secrets of addresses in an attribute of the log, such as the error of a library.
func redact(_ []string, a slog.Attr) slog.Attr {
	switch v := a.Value.Any().(type) {
	case string:
		a.Value = slog.StringValue(secret.Redact(v))
	case error:
		a.Value = slog.StringValue(secret.Redact(v.Error()))
	case fmt.Stringer:
		if a.Value.Kind() == slog.KindAny {
			a.Value = slog.StringValue(secret.Redact(v.String()))
		}
	}
	return a
}
