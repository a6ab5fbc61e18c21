package main

import (
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/human"
	"github.com/reelmill/reelmill/pipeline/secret"
)

// configCommand groups the commands about the configuration.
type configCommand struct {
	Show configShow `cmd:"" help:"Show every setting of serve with its value; it takes the flags of serve."`
}

// configShow prints what serve would run with.
type configShow struct {
	serveCommand
	output
	Origin bool `help:"Also say where each value comes from: a flag, the environment, the file or the default."`
}

// shownSetting is a setting as it is printed.
type shownSetting struct {
	Key    string `json:"key"`
	Value  string `json:"value"` // *** for a secret; empty: not set
	Origin string `json:"origin,omitempty"`
	From   string `json:"from,omitempty"` // the flag, the variable, or the file and its key
}

// Validate hides that of serve: what is wrong is shown, too.
func (configShow) Validate() error { return nil }

// Run prints a line for each setting.
func (c configShow) Run(ctx *kong.Context, s streams, set *settings) error {
	var all []shownSetting
	for _, f := range ctx.Flags() {
		switch f.Name {
		case "help", "version", "json", "output", "origin":
			continue
		}
		one := shownSetting{Key: strings.ReplaceAll(f.Name, "-", "_"), Value: shownValue(ctx, f)}
		if c.Origin {
			one.Origin, one.From = set.origin(ctx, f)
		}
		all = append(all, one)
	}
	return c.print(s, all, func(w io.Writer) {
		heading := "SETTING\tVALUE"
		if c.Origin {
			heading += "\tORIGIN\tFROM"
		}
		human.Fprintf(w, "%s\n", human.Lines(strings.ReplaceAll(heading, "\t", "  ")))
		for _, one := range all {
			if c.Origin {
				human.Fprintf(w, "%s\t%s\t%s\t%s\n", one.Key, one.Value, one.Origin, one.From)
				continue
			}
			human.Fprintf(w, "%s\t%s\n", one.Key, one.Value)
		}
	})
}

// shownValue returns the value of a flag without what is secret.
func shownValue(ctx *kong.Context, f *kong.Flag) string {
	v := reflect.ValueOf(ctx.FlagValue(f))
	if text, ok := v.Interface().(secret.Text); ok {
		if text.Empty() {
			return ""
		}
		return secret.Hidden
	}
	switch v.Kind() {
	case reflect.Slice:
		var items []string
		for i := range v.Len() {
			items = append(items, fmt.Sprint(v.Index(i)))
		}
		return secret.Redact(strings.Join(items, ","))
	case reflect.Map:
		if v.Len() == 0 {
			return ""
		}
	}
	return secret.Redact(fmt.Sprint(v.Interface()))
}

// origin says where the value of a flag comes from.
func (s *settings) origin(ctx *kong.Context, f *kong.Flag) (kind, from string) {
	own := s.settingOf(ctx, f)
	if f.Name == "config" && own.from == nowhere && s.path != "" {
		return "flag", "--config"
	}
	if own.from == nowhere && holdsSecret(f) { // a file may hold it
		for _, other := range ctx.Flags() {
			if other.Name == f.Name+fileSuffix {
				own = s.settingOf(ctx, other)
			}
		}
	}
	switch own.from {
	case fromFlag:
		return "flag", own.name
	case fromEnvironment:
		return "environment", own.name
	case fromConfiguration:
		return "file", s.path + ": " + own.name
	}
	return "default", ""
}
