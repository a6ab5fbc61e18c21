package main

import (
	"os"
	"path"
	"strings"
	"testing"
	"testing/fstest"
)

// TestRulesLeaveRoom: the map in CONTRIBUTING.md says where planned additions go, and the rules allow them
// there.
func TestRulesLeaveRoom(t *testing.T) {
	guide, err := os.ReadFile("../../CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	const ours = "example.org/m/"
	fsys := ruleSound()
	for _, c := range []struct {
		file    string
		imports []string
	}{
		{"pipeline/account.go", nil},
		{"pipeline/api/intake.go", []string{ours + "pipeline", ours + "storage"}},
		{"pipeline/api/tus.go", []string{"github.com/tus/tusd/v2/pkg/handler"}},
		{"pipeline/api/fetch.go", []string{ours + "pipeline"}},
		{"pipeline/api/presigned.go", []string{ours + "storage"}},
		{"pipeline/api/auth.go", []string{ours + "pipeline"}},
		{"pipeline/api/websocket.go", []string{"github.com/coder/websocket"}},
		{"pipeline/api/work.go", []string{ours + "pipeline", ours + "pipeline/console"}},
		{"pipeline/bus/presence.go", []string{ours + "pipeline"}},
		{"pipeline/console/console.go", nil},
		{"pipeline/manifest/subtitles.go", []string{ours + "pipeline"}},
		{"storage/accounts/accounts.go", []string{ours + "pipeline", ours + "storage/postgres"}},
		{"storage/catalog/catalog.go", []string{ours + "storage/postgres"}},
		{"storage/postgres/postgres.go", []string{"github.com/jackc/pgx/v5/pgxpool"}},
		{"workers/fetch/fetch.go", []string{ours + "workers", ours + "workers/internal/outbound"}},
		{"workers/internal/outbound/outbound.go", nil},
		{"workers/internal/ffmpeg/process_linux.go", []string{ours + "workers/internal/sandbox"}},
		{"workers/internal/sandbox/sandbox.go", []string{"github.com/landlock-lsm/go-landlock/landlock"}},
		{"workers/policy/policy.go", []string{ours + "workers"}},
		{"workers/subtitles/subtitles.go", []string{ours + "workers", ours + "workers/internal/ffmpeg"}},
	} {
		name := path.Base(path.Dir(c.file))
		source := "// Package " + name + " is\npackage " + name + "\n"
		for _, i := range c.imports {
			source += "\nimport _ \"" + i + "\"\n"
		}
		fsys[c.file] = &fstest.MapFile{Data: []byte(source)}
		if !strings.Contains(string(guide), "`"+c.file+"`") && !strings.Contains(string(guide), "`"+path.Dir(c.file)+"`") {
			t.Errorf("the map in CONTRIBUTING.md lacks %s", c.file)
		}
	}
	fsys["workers/all/all.go"] = &fstest.MapFile{Data: []byte("// Package all is\npackage all\n\nimport (\n\t\"" + ours +
		"workers/audio\"\n\t\"" + ours + "workers/fetch\"\n\t\"" + ours + "workers/policy\"\n\t\"" + ours + "workers/subtitles\"\n)\n")}
	breaches, err := ruleBreaches(fsys)
	if err != nil || len(breaches) > 0 {
		t.Errorf("breaches %q, error %v; want none", breaches, err)
	}
}
