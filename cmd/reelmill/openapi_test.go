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

// TestOpenAPIIsCommitted: pipeline/api/openapi.json is what the program serves without any configuration.
func TestOpenAPIIsCommitted(t *testing.T) {
	served := get(t, startServe(t, binary, t.TempDir()).url+"/openapi.json")
	var want bytes.Buffer
	check(t, json.Indent(&want, served, "", "  "))
	want.WriteByte('\n')
	file := filepath.Join("..", "..", "pipeline", "api", "openapi.json")
	if *update {
		check(t, os.WriteFile(file, want.Bytes(), 0o644))
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("pipeline/api/openapi.json is not fresh (%v): run go test ./cmd/reelmill -run TestOpenAPIIsCommitted "+
			"-update", err)
	}
}
