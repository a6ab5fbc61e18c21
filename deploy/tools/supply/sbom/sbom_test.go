package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// TestSBOM lists what this test is made of, which the Go linker wrote into it, and the real ffmpeg. The
// document is valid by the schema of CycloneDX, names each module of `go version -m`, and is the same twice.
func TestSBOM(t *testing.T) {
	program := filepath.Join(t.TempDir(), "sbom")
	command(t, "go", "build", "-buildvcs=false", "-ldflags", "-s -X main.version=v1.2.3-test", "-o", program, ".")
	var first, second bytes.Buffer
	for _, out := range []*bytes.Buffer{&first, &second} {
		if err := run(t.Context(), []string{"-licences", "..", program}, out); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("two documents of one binary differ")
	}
	validate(t, first.Bytes())
	var bom cdx.BOM
	if err := json.Unmarshal(first.Bytes(), &bom); err != nil {
		t.Fatal(err)
	}
	if bom.Metadata.Component.Version != "v1.2.3-test" {
		t.Errorf("version %q", bom.Metadata.Component.Version)
	}
	found := map[string]cdx.Component{}
	for _, c := range *bom.Components {
		found[c.Name+" "+c.Version] = c
	}
	modules := 0
	for line := range strings.Lines(command(t, "go", "version", "-m", program)) {
		if w := strings.Fields(line); len(w) >= 3 && w[0] == "dep" {
			modules++
			if c, ok := found[w[1]+" "+w[2]]; !ok || c.Licenses == nil {
				t.Errorf("%s %s: %+v", w[1], w[2], c)
			}
		}
	}
	if modules < 2 {
		t.Errorf("%d modules", modules)
	}
	version := strings.Fields(command(t, "ffmpeg", "-version"))[2]
	ffmpeg, ok := found["ffmpeg "+version]
	if !ok || !slices.Contains(*ffmpeg.Properties, cdx.Property{Name: "ffmpeg:external-library", Value: "libx264"}) {
		t.Errorf("ffmpeg: %+v", ffmpeg)
	}
	if _, err := exec.LookPath("dpkg-query"); err != nil {
		return
	}
	own := strings.TrimSpace(command(t, "dpkg-query", "-W", "-f", "${Version}", "ffmpeg"))
	if !slices.Contains(*ffmpeg.Properties, cdx.Property{Name: "debian:package", Value: "ffmpeg " + own}) {
		t.Errorf("ffmpeg %s: %+v", own, *ffmpeg.Properties)
	}
	if !slices.ContainsFunc(*bom.Components, func(c cdx.Component) bool {
		return strings.HasPrefix(c.PackageURL, "pkg:deb/debian/libx264-")
	}) {
		t.Error("there is no package of x264")
	}
}

// validate checks a document with the schema that CycloneDX publishes, which is part of its Go module.
func validate(t *testing.T, document []byte) {
	t.Helper()
	dir := strings.TrimSpace(command(t, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go"))
	compiler := jsonschema.NewCompiler()
	for id, file := range map[string]string{
		"bom-1.6.schema.json": "bom-1.6.schema.json", "spdx.schema.json": "spdx.schema.json",
		"jsf-0.82.schema.json": "jsf-0.82.schemax.json",
	} {
		text, err := os.ReadFile(filepath.Join(dir, "schema", file))
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := compiler.AddResource("http://cyclonedx.org/schema/"+id, doc); err != nil {
			t.Fatal(err)
		}
	}
	schema, err := compiler.Compile("http://cyclonedx.org/schema/bom-1.6.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(doc); err != nil {
		t.Errorf("%v\n%s", err, document)
	}
	doc.(map[string]any)["components"].([]any)[0].(map[string]any)["type"] = "nonsense"
	if schema.Validate(doc) == nil {
		t.Error("the schema takes anything")
	}
}

// TestParseVersion reads the answers of several builds.
func TestParseVersion(t *testing.T) {
	for _, c := range []struct{ out, version, cpe string }{
		{"ffmpeg version 5.1.9-0+deb12u1 Copyright (c) 2000-2026", "5.1.9-0+deb12u1", "5.1.9"},
		{"ffmpeg version n7.1 Copyright", "n7.1", "7.1"},
		{"ffmpeg version N-109542-g1bf1b1c Copyright", "N-109542-g1bf1b1c", "-"},
	} {
		version, config, err := parseVersion(c.out + "\nconfiguration: --enable-gpl --enable-libx265 --enable-libx264\n")
		if err != nil || version != c.version || cpeVersion(version) != c.cpe {
			t.Errorf("%q: %q, %q, %v", c.out, version, cpeVersion(version), err)
		}
		if names := external(config); !slices.Equal(names, []string{"libx264", "libx265"}) {
			t.Errorf("%q: %q", config, names)
		}
	}
	if _, _, err := parseVersion("hello\n"); err == nil {
		t.Error("took anything")
	}
}

func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).Output()
	if err != nil {
		t.Fatalf("%s %q: %v", name, args, err)
	}
	return string(out)
}
