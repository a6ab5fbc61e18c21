package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the OpenAPI document anew from the Go types")

// TestOpenAPIIsCommitted: pipeline/api/openapi.json and asyncapi.json are what the program serves without any
// configuration.
func TestOpenAPIIsCommitted(t *testing.T) {
	p := startServe(t, binary, t.TempDir())
	for _, name := range []string{"openapi.json", "asyncapi.json"} {
		var want bytes.Buffer
		check(t, json.Indent(&want, get(t, p.url+"/"+name), "", "  "))
		want.WriteByte('\n')
		file := filepath.Join("..", "..", "pipeline", "api", name)
		if *update {
			check(t, os.WriteFile(file, want.Bytes(), 0o644))
		}
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want.Bytes()) {
			t.Errorf("pipeline/api/%s is not fresh (%v): run go test ./cmd/reelmill -run TestOpenAPIIsCommitted "+
				"-update", name, err)
		}
	}
}
