package main

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

var damageRounds = flag.Int("damages", 0, "how many rounds TestDamagedFiles damages every file of the data folder, "+
	"each round elsewhere; 0: one round, of the most important files")

// damages are the kinds of damage to a file that is not empty. Each returns other bytes than it got.
var damages = []struct {
	name string
	do   func(r *rand.Rand, b []byte) []byte
}{
	{"a flipped bit", func(r *rand.Rand, b []byte) []byte { b[r.IntN(len(b))] ^= 1 << r.IntN(8); return b }},
	{"the last byte cut", func(_ *rand.Rand, b []byte) []byte { return b[:len(b)-1] }},
	{"the end cut", func(r *rand.Rand, b []byte) []byte { return b[:r.IntN(len(b))] }},
	{"zeros in the middle", func(_ *rand.Rand, b []byte) []byte {
		from := len(b) / 2 / 4096 * 4096
		clear(b[from:min(len(b), from+4096)])
		return b
	}},
	{"a flipped bit of a name", func(r *rand.Rand, b []byte) []byte {
		at := bytes.Index(b, []byte("vid_"))
		if at < 0 {
			at = r.IntN(len(b))
		}
		b[min(at+10, len(b)-1)] ^= 1
		return b
	}},
}

// mostImportant are the files of a data folder that are damaged always. Damage to the first two must be noticed;
// the program writes the others anew from its own settings.
var mostImportant = []string{
	"catalog.db", "broker/jetstream/$G/streams/EVENTS/msgs/1.blk", "broker/jetstream/$G/streams/EVENTS/meta.inf",
	"broker/jetstream/$G/streams/TASKS/meta.inf",
}

// TestDamagedFiles damages the files of a stopped server in each way, with fixed seeds, and starts the program
// again. Either all answers are as before, or the program refuses to start and names the file and what to do.
func TestDamagedFiles(t *testing.T) {
	site := t.TempDir()
	p := startServe(t, binary, site, "--min-free", "1", "--sandbox", "off")
	for n := range 3 {
		file := filepath.Join(t.TempDir(), fmt.Sprintf("clip-%d.mp4", n))
		check(t, os.WriteFile(file, bytes.Repeat([]byte{byte(n)}, 1000), 0o600))
		view, err := p.client().Upload(t.Context(), client.Upload{Path: file, Metadata: map[string]string{"title": file}})
		check(t, err)
		awaitEnd(t, p.client(), view.ID) // it is no video
	}
	before := answers(t, p)
	p.stop(t)
	files := mostImportant
	if *damageRounds > 0 {
		files = filesOf(t, site)
	}
	for _, name := range files {
		for kind := range damages {
			for round := range max(1, *damageRounds) {
				t.Run(fmt.Sprintf("%s/%s/%d", filepath.ToSlash(name), damages[kind].name, round), func(t *testing.T) {
					damageAndStart(t, site, name, kind, round, before)
				})
			}
		}
	}
}

// filesOf lists the files of a data folder that are not empty, without the objects of the store, which are
// checked when they are used.
func filesOf(t *testing.T, dir string) (files []string) {
	t.Helper()
	check(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if info := must(t, entry.Info); err == nil && info.Size() > 0 && !strings.HasPrefix(name, "store") {
			files = append(files, name)
		}
		return err
	}))
	for _, name := range mostImportant {
		if !slices.Contains(files, name) {
			t.Fatalf("there is no %s in %q", name, files)
		}
	}
	return files
}

func must[T any](t *testing.T, do func() (T, error)) T {
	t.Helper()
	v, err := do()
	check(t, err)
	return v
}

// damageAndStart damages a file of a copy of the data folder, and judges what the program does with it.
func damageAndStart(t *testing.T, site, name string, kind, round int, before map[string][]byte) {
	t.Helper()
	data := t.TempDir()
	check(t, os.CopyFS(data, os.DirFS(site)))
	file := filepath.Join(data, name)
	raw := readFile(t, file)
	r := rand.New(rand.NewPCG(uint64(kind), uint64(round)))
	check(t, os.WriteFile(file, damages[kind].do(r, raw), 0o600))
	p, ready := launch(t, binary, "serve", "--data", data, "--listen", "127.0.0.1:0", "--no-workers", "--min-free", "1",
		"--sandbox", "off") // which takes a third of the start
	if !ready {
		p.wait(t)
		if said := p.stderr.String(); !strings.Contains(said, filepath.Dir(file)) ||
			!slices.ContainsFunc([]string{"restore", "remove the file"}, func(s string) bool { return strings.Contains(said, s) }) {
			t.Errorf("it refuses without the place or what to do: %s", said)
		}
		return
	}
	told := strings.Contains(p.stderr.String(), "level=WARN") && strings.Contains(p.stderr.String(), "file="+file)
	if slices.Contains(mostImportant[:2], name) && !told {
		t.Errorf("the damage was not noticed:\n%s", p.stderr)
	}
	for path, want := range before {
		if got := get(t, p.url+path); !bytes.Equal(got, want) {
			t.Errorf("%s was\n%s\nand is\n%s\nIt said:\n%s", path, want, got, p.stderr)
		}
	}
}

// wait waits until the process has ended.
func (p *process) wait(t testing.TB) {
	t.Helper()
	pipelinetest.Receive(t, "the end of the process", p.exited)
	p.exited = nil
}
