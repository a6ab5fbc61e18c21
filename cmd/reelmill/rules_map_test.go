package main

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// TestRulesLeaveRoom: the map in CONTRIBUTING.md says where additions go, and the rules allow them there. The
// cases have every path of the map, with what the file there will import.
func TestRulesLeaveRoom(t *testing.T) {
	const ours = "example.org/m/"
	const exists = true // the file is there today
	fsys := ruleSound()
	places := []string{"workers/<type>"} // that the cases have
	quoted := rulesMap(t)
	for _, c := range []struct {
		file    string
		today   bool
		imports []string
	}{
		{"cmd/reelmill/command.go", false, []string{"github.com/alecthomas/kong", ours + "pipeline/client"}},
		{"pipeline/access/quota.go", false, nil},
		{"pipeline/access/token.go", exists, []string{ours + "pipeline", ours + "pipeline/secret"}},
		{"pipeline/access/limits.go", exists, nil},
		{"pipeline/quota/quota.go", exists, []string{ours + "pipeline", ours + "pipeline/access"}},
		{"storage/catalog/usage.go", exists, []string{ours + "pipeline"}},
		{"pipeline/aggregate.go", exists, nil},
		{"pipeline/codes.go", exists, nil},
		{"pipeline/flow.go", exists, nil},
		{"pipeline/media.go", exists, nil},
		{"pipeline/upload.go", exists, nil},
		{"pipeline/api/auth.go", false, []string{ours + "pipeline"}},
		{"pipeline/api/console.go", false, []string{ours + "pipeline/console"}},
		{"pipeline/api/describeerrors.go", exists, []string{ours + "pipeline"}},
		{"pipeline/api/examples/why.json", exists, nil},
		{"pipeline/fetch.go", exists, nil},
		{"pipeline/api/fetch.go", exists, []string{ours + "pipeline"}},
		{"pipeline/api/intake.go", exists, []string{ours + "pipeline", ours + "storage"}},
		{"pipeline/api/presigned.go", exists, []string{ours + "storage"}},
		{"pipeline/api/request.go", exists, []string{ours + "pipeline"}},
		{"pipeline/api/sse.go", exists, []string{ours + "pipeline", ours + "pipeline/live"}},
		{"pipeline/api/streams.go", exists, []string{ours + "pipeline"}},
		{"pipeline/api/tus.go", exists, []string{"github.com/tus/tusd/v2/pkg/handler"}},
		{"pipeline/api/wait.go", exists, []string{ours + "pipeline", ours + "pipeline/live"}},
		{"pipeline/api/websocket.go", exists, []string{"github.com/coder/websocket"}},
		{"pipeline/api/work.go", false, []string{ours + "pipeline"}},
		{"pipeline/bus/presence.go", exists, []string{ours + "pipeline", "github.com/nats-io/nats.go"}},
		{"pipeline/console/console.go", false, nil},
		{"pipeline/live/hub.go", exists, []string{ours + "pipeline", ours + "storage/catalog"}},
		{"pipeline/manifest/subtitles.go", false, []string{ours + "pipeline"}},
		{"pipeline/schemas/job.started.json", exists, nil},
		{"pipeline/webhooks/endpoint.go", exists, []string{ours + "pipeline"}},
		{"cmd/reelmill/internal/node/hooks.go", exists, []string{ours + "pipeline/webhooks", ours + "pipeline/mail"}},
		{"workers/webhook/poster.go", exists, []string{ours + "pipeline/webhooks"}},
		{"storage/accounts/accounts.go", false, []string{ours + "pipeline", ours + "storage/postgres", "database/sql"}},
		{"storage/catalog/catalog.go", exists, []string{ours + "storage/postgres", "database/sql"}},
		{"storage/catalog/lock_unix.go", exists, []string{ours + "storage/postgres", "database/sql"}},
		{"storage/catalog/migrations/00001_read_model.sql", exists, nil},
		{"storage/postgres/postgres.go", false, []string{"github.com/jackc/pgx/v5/pgxpool", "database/sql"}},
		{"workers/all/all.go", exists, []string{
			ours + "workers/audio", ours + "workers/fetch", ours + "workers/inspect", ours + "workers/policy",
			ours + "workers/subtitles", ours + "workers/transcode", ours + "workers/webhook",
		}},
		{"workers/fetch/fetch.go", exists, []string{ours + "workers", ours + "workers/internal/outbound"}},
		{"workers/inspect/tracks.go", exists, []string{ours + "pipeline", ours + "workers/internal/ffmpeg"}},
		{"workers/internal/sandbox/run.go", exists, []string{"os/exec"}},
		{"workers/internal/hls/fragment.go", exists, []string{ours + "pipeline/manifest", "github.com/Eyevinn/mp4ff/mp4"}},
		{"workers/internal/outbound/url.go", exists, nil},
		{"workers/internal/picture/encode.go", exists, []string{ours + "workers/internal/ffmpeg"}},
		{"workers/policy/policy.go", false, []string{ours + "workers"}},
		{"workers/remote.go", false, []string{ours + "pipeline"}},
		{"workers/subtitles/subtitles.go", false, []string{ours + "workers", ours + "workers/internal/ffmpeg"}},
		{"workers/transcode/chunk.go", exists, []string{ours + "workers/internal/picture"}},
		{"workers/transcode/ladder.go", exists, []string{ours + "workers/internal/picture"}},
		{"workers/transcode/params.go", exists, []string{ours + "pipeline"}},
		{"workers/transcode/transcode.go", exists, []string{ours + "workers/internal/ffmpeg"}},
	} {
		fsys[c.file] = rulePackage(c.file, c.imports)
		place := c.file
		if !slices.Contains(quoted, place) {
			place = path.Dir(c.file)
		}
		if places = append(places, place); !slices.Contains(quoted, place) {
			t.Errorf("the map in CONTRIBUTING.md lacks %s", c.file)
		}
		if _, err := os.Stat(filepath.Join("../..", c.file)); c.today && err != nil {
			t.Errorf("the map in CONTRIBUTING.md is stale: %v", err)
		}
	}
	for _, place := range quoted {
		if !slices.Contains(places, place) {
			t.Errorf("the map in CONTRIBUTING.md has %s; no case checks it", place)
		}
	}
	breaches, err := ruleBreaches(fsys)
	if err != nil || len(breaches) > 0 {
		t.Errorf("breaches %q, error %v; want none", breaches, err)
	}
}

// rulePackage returns a file that imports packages; one that is not Go is empty.
func rulePackage(file string, imports []string) *fstest.MapFile {
	if path.Ext(file) != ".go" {
		return &fstest.MapFile{}
	}
	name, opening := path.Base(path.Dir(file)), "// Package "
	if strings.HasPrefix(file, "cmd/") {
		name, opening = "main", "// Command "
	}
	source := opening + name + " is\npackage " + name + "\n"
	for i, imported := range imports {
		source += fmt.Sprintf("\nimport p%d %q\n", i, imported)
	}
	return &fstest.MapFile{Data: []byte(source)}
}

// rulesMap returns the paths in the right column of the map in CONTRIBUTING.md: what is quoted and has a slash.
func rulesMap(t *testing.T) []string {
	t.Helper()
	guide, err := os.ReadFile("../../CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(guide), "\n| to add | put it in |\n")
	table, _, found := strings.Cut(table, "\n\n")
	if !found {
		t.Fatal("CONTRIBUTING.md has no map")
	}
	var paths []string
	for _, m := range regexp.MustCompile("`([^`]+/[^`]+)`").FindAllStringSubmatch(table, -1) {
		paths = append(paths, m[1])
	}
	return paths
}
