package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/bus/bustest"
	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/storage/catalog"
)

// TestRebuild deletes and rebuilds the read model, and checks that every answer of the API is the same, byte
// for byte.
func TestRebuild(t *testing.T) {
	data := t.TempDir()
	p := startServe(t, binary, data)
	api := p.client()
	bad := filepath.Join(t.TempDir(), "bad.mp4")
	if err := os.WriteFile(bad, []byte("no video at all, only a few words"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, u := range []client.Upload{
		{Path: clip(t, "one.mp4", 2, "320x180", 25), Metadata: map[string]string{"a": "b"}},
		{Path: clip(t, "two.mp4", 2, "180x320", 30), Watermark: "text:two"},
		{Path: bad},
	} {
		view, err := api.Upload(t.Context(), u)
		if err != nil {
			t.Fatal(err)
		}
		if end := awaitEnd(t, api, view.ID); end.Status == pipeline.StateVideoReady && u.Watermark == "" {
			added(t, p, view.ID, rung(90), pipeline.StateAdditionReady)
			added(t, p, view.ID, failingStep(), pipeline.StateAdditionErrored)
		}
	}
	before := answers(t, p)
	p.stop(t)
	files, err := filepath.Glob(filepath.Join(data, "catalog.db*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("catalog files: %v, %v", files, err)
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	var out, errOut bytes.Buffer
	if err := run(t.Context(), []string{"rebuild", "--data", data}, &out, &errOut); err != nil {
		t.Fatalf("rebuild: %v\n%s", err, errOut.String())
	}
	after := answers(t, startServe(t, binary, data))
	if len(before) != len(after) || len(before) < 13 {
		t.Fatalf("%d answers before, %d after", len(before), len(after))
	}
	for path, want := range before {
		if got := after[path]; !bytes.Equal(got, want) {
			t.Errorf("%s before\n%s\nafter\n%s", path, want, got)
		}
	}
}

// answers collects the answers of the API about every video.
func answers(t *testing.T, p *process) map[string][]byte {
	t.Helper()
	all := map[string][]byte{"/v1/videos": get(t, p.url+"/v1/videos")}
	var list struct {
		Data []pipeline.VideoView `json:"data"`
	}
	if err := json.Unmarshal(all["/v1/videos"], &list); err != nil {
		t.Fatal(err)
	}
	for _, v := range list.Data {
		for _, suffix := range []string{"", "/jobs", "/outputs", "/events", "/additions"} {
			path := "/v1/videos/" + v.ID + suffix
			all[path] = get(t, p.url+path)
		}
	}
	return all
}

// TestRebuildOverGarbage checks that a rebuild replaces a read model that is no database, or a damaged one.
func TestRebuildOverGarbage(t *testing.T) {
	for name, spoil := range map[string]func(b []byte) []byte{
		"pages": func(b []byte) []byte {
			for i := 4096; i < len(b); i++ {
				b[i] = byte(i * 7)
			}
			return b
		},
		"one page": func(b []byte) []byte {
			copy(b[3*4096:4*4096], bytes.Repeat([]byte{0xa5}, 4096))
			return b
		},
		"the end":    func(b []byte) []byte { return b[:len(b)/2] },
		"everything": func([]byte) []byte { return bytes.Repeat([]byte("garbage "), 5000) },
		"nothing":    func([]byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, "")
			path := filepath.Join(s.data, "catalog.db")
			raw, err := os.ReadFile(path)
			check(t, err)
			check(t, os.WriteFile(path, spoil(raw), 0o600))
			check(t, os.WriteFile(path+"-wal", bytes.Repeat([]byte("wal "), 3000), 0o600))
			out, err := s.command("rebuild")
			if err != nil || !strings.Contains(out, "rebuilt the read model from 56 events") {
				t.Fatalf("%v\n%s", err, out)
			}
			s.wantVideos(siteVideos)
			s.wantWhole()
		})
	}
}

// TestRebuildOfNothing checks that a rebuild without a data folder or a broker fails, and creates none.
func TestRebuildOfNothing(t *testing.T) {
	above := t.TempDir()
	url := bustest.Start(t, &server.Options{JetStream: true}).ClientURL()
	empty := filepath.Join(above, "empty")
	check(t, os.Mkdir(empty, 0o700))
	for _, args := range [][]string{
		{"--data", filepath.Join(above, "none")},
		{"--data", filepath.Join(above, "none"), "--nats", url},
		{"--data", empty},
		{"--data", empty, "--nats", url}, // a broker without a log
	} {
		for _, force := range [][]string{nil, {"--force"}} {
			args := append(append([]string{"rebuild"}, args...), force...)
			if err := run(pipelinetest.Context(t), args, io.Discard, io.Discard); exitCode(err) != exitFailure {
				t.Errorf("%v: %v", args, err)
			}
		}
	}
	check(t, filepath.WalkDir(above, func(path string, e fs.DirEntry, err error) error {
		if err == nil && path != above && path != empty && !strings.HasSuffix(path, ".lock") {
			t.Errorf("it made %s", path)
		}
		return err
	}))
}

// TestAnInterruptedRebuildChangesNothing checks that a rebuild that is interrupted midway leaves the read
// model as it was, and no other file.
func TestAnInterruptedRebuildChangesNothing(t *testing.T) {
	nats := bustest.Start(t, &server.Options{JetStream: true})
	s := newSite(t, nats.ClientURL())
	n := s.open()
	for v := range 300 { // some fill a batch, so that the new read model begins
		accept(t, n.bus, fmt.Sprint("more-", v))
	}
	s.close(n)
	before := s.state()
	address, held := holdUp(t, nats, siteEvents+290)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, []string{"rebuild", "--data", s.data, "--nats", address}, io.Discard, io.Discard)
	}()
	pipelinetest.Receive(t, "the rebuild is in the midst of the log", held)
	if _, err := os.Stat(filepath.Join(s.data, "rebuild", "catalog.db")); err != nil {
		t.Error(err)
	}
	stop() // no event comes, so the rebuild does not end by itself
	if err := pipelinetest.Receive(t, "its end", done); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if s.state() != before {
		t.Error("the read model was changed")
	}
	if _, err := os.Stat(filepath.Join(s.data, "rebuild")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it left something: %v", err)
	}
	s.wantWhole()
}

// holdUp returns the address of a proxy to a NATS server. The proxy stops for the rest of the test before it
// delivers an event of the log, and reports that.
func holdUp(t *testing.T, s *server.Server, event uint64) (address string, held <-chan struct{}) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	reached, over := make(chan struct{}), make(chan struct{})
	say := sync.OnceFunc(func() { close(reached) })
	var all sync.WaitGroup
	t.Cleanup(func() {
		check(t, listener.Close())
		close(over)
		all.Wait()
	})
	all.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", s.Addr().String())
			if err != nil {
				t.Error(err)
				client.Close()
				return
			}
			all.Go(func() { _, _ = io.Copy(server, client); server.Close() })
			all.Go(func() {
				defer client.Close()
				for lines := bufio.NewReader(server); ; {
					line, err := lines.ReadString('\n')
					if delivers(line) == event {
						say()
						<-over
					}
					if _, written := io.WriteString(client, line); err != nil || written != nil {
						return
					}
				}
			})
		}
	})
	return "nats://" + listener.Addr().String(), reached
}

// delivers returns the sequence of the log event that a line of the NATS protocol delivers; 0 for none. It is
// in the subject for acks, $JS.ACK.STREAM.CONSUMER.DELIVERIES.SEQUENCE and more.
func delivers(line string) uint64 {
	_, ack, ok := strings.Cut(line, " $JS.ACK.EVENTS.")
	if tokens := strings.Split(ack, "."); ok && len(tokens) > 2 {
		if sequence, err := strconv.ParseUint(tokens[2], 10, 64); err == nil {
			return sequence
		}
	}
	return 0
}

// TestRebuildOfAccess: a read model that is made anew has the same projects, keys and events of them.
func TestRebuildOfAccess(t *testing.T) {
	s := newSite(t, "")
	n := s.open()
	ctx := pipeline.WithActor(t.Context(), "key:key_root")
	_, err := access.CreateProject(ctx, n.bus, "shop", access.Settings{Title: "Shop"})
	check(t, err)
	_, err = access.CreateProject(ctx, n.bus, "gone", access.Settings{})
	check(t, err)
	for _, project := range []string{"default", "shop", "gone", access.Operator} {
		scopes := []access.Scope{access.Read}
		if project == access.Operator {
			scopes = []access.Scope{access.Operate}
		}
		k, _, _, err := access.CreateKey(ctx, n.bus, access.NewKey{Project: project, Scopes: scopes})
		check(t, err)
		if project == "default" {
			_, err = access.RevokeKey(ctx, n.bus, project, k.ID)
			check(t, err)
		}
	}
	_, err = access.DeleteProject(ctx, n.bus, "gone")
	check(t, err)
	s.close(n)
	before := s.accessTables()
	if !strings.Contains(before, "key:key_root") || strings.Count(before, "key.created") != 4 {
		t.Fatalf("the read model has\n%s", before)
	}
	out, err := s.command("rebuild")
	if err != nil || !strings.Contains(out, "rebuilt the read model from 64 events") {
		t.Fatalf("%v\n%s", err, out)
	}
	if after := s.accessTables(); after != before {
		t.Errorf("rebuilt\n%s\nbefore\n%s", after, before)
	}
	s.wantVideos(siteVideos)
	s.wantWhole()
}

// accessTables writes what the read model has of projects and keys.
func (s *site) accessTables() string {
	s.t.Helper()
	c, err := catalog.Open(s.t.Context(), filepath.Join(s.data, "catalog.db"))
	check(s.t, err)
	defer func() { check(s.t, c.Close()) }()
	var all []any
	projects, err := c.Projects(s.t.Context())
	check(s.t, err)
	all = append(all, projects)
	for _, project := range []string{"default", "shop", "gone", access.Operator} {
		keys, err := c.Keys(s.t.Context(), project)
		check(s.t, err)
		events, err := c.History(s.t.Context(), catalog.EventQuery{Project: project, Access: true})
		check(s.t, err)
		all = append(all, keys, events)
	}
	raw, err := json.Marshal(all)
	check(s.t, err)
	return string(raw)
}
