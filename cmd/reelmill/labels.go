package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/alecthomas/kong"
)

// labels are metadata. A flag sets some of them, and may come several times.
type labels map[string]string

// Decode implements kong.MapperValue.
func (l *labels) Decode(ctx *kong.DecodeContext) error {
	var text string
	if err := ctx.Scan.PopValueInto("key=value", &text); err != nil {
		return err
	}
	read, err := parseLabels(text)
	if err != nil {
		return err
	}
	if *l == nil {
		*l = labels{}
	}
	maps.Copy(*l, read)
	return nil
}

// parseLabels reads key=value;key=value, or a JSON object of texts. What follows a semicolon without being
// key=value belongs to the value before it; \\; is a semicolon in any case.
func parseLabels(text string) (labels, error) {
	read := labels{}
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		if json.Unmarshal([]byte(text), &read) != nil {
			return nil, errors.New("it is not a JSON object of texts")
		}
		return read, nil
	}
	last := ""
	for i, part := range kong.SplitEscaped(text, ';') {
		key, value, pair := strings.Cut(part, "=")
		switch {
		case pair && key != "":
			last, read[key] = key, value
		case i == 0:
			return nil, fmt.Errorf("write KEY=VALUE, not %q", part)
		default:
			read[last] += ";" + part
		}
	}
	return read, nil
}
