package main

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// TestTusClient uploads with tus-js-client, which is not ours, in Node and in a browser from a page of another
// origin, while the server is killed at random offsets. With TEST_SWEEP, it sends 1 GB through 20 kills.
func TestTusClient(t *testing.T) {
	size, kills := int64(8<<20), 3
	if pipelinetest.Whole() {
		size, kills = 1_000_000_000, 20
	}
	file := filepath.Join(t.TempDir(), "noise.mp4")
	sum := makeNoise(t, file, size)
	for _, store := range []string{"disk", "s3"} {
		for client, send := range map[string]func(*testing.T, string, string){"node": sendByNode, "browser": sendByBrowser} {
			t.Run(store+" "+client, func(t *testing.T) {
				var args []string
				if store == "s3" {
					args = []string{"--store", bucket(t)}
				}
				c := startCutter(t, args, func(r *rand.Rand) int64 { return 1 + r.Int64N(size/int64(kills+1)) })
				c.kills = kills
				u := createUpload(t, c.server(), int(size))
				send(t, file, c.url+u.Path)
				c.mu.Lock()
				defer c.mu.Unlock()
				t.Logf("%d kills, %d bytes sent for %d", c.killed, c.sent, size)
				if c.killed < kills {
					t.Errorf("the server was killed %d times, want %d", c.killed, kills)
				}
				wantSource(t, c.p, u.Video, size, sum)
			})
		}
	}
}

// TestTusClientIsCut uploads small files with tus-js-client, and cuts the connections at random offsets. With
// TEST_SWEEP, it cuts 1,000 times.
func TestTusClientIsCut(t *testing.T) {
	cuts := 20
	if pipelinetest.Whole() {
		cuts = 1000
	}
	const size = 256 << 10
	file := filepath.Join(t.TempDir(), "noise.mp4")
	for _, store := range []string{"disk", "s3"} {
		t.Run(store, func(t *testing.T) {
			var args []string
			if store == "s3" {
				args = []string{"--store", bucket(t)}
			}
			c := startCutter(t, args, func(r *rand.Rand) int64 { return 1 + r.Int64N(size/4) })
			c.cuts = cuts
			uploads := 0
			for ; c.cut < cuts; uploads++ {
				sum := makeNoise(t, file, size)
				u := createUpload(t, c.server(), size)
				sendByNode(t, file, c.url+u.Path)
				wantSource(t, c.server(), u.Video, size, sum)
				check(t, c.server().client().Delete(t.Context(), u.Video))
			}
			t.Logf("%d cuts, %d uploads", c.cut, uploads)
		})
	}
}

// makeNoise writes random bytes to a file, and returns their SHA-256.
func makeNoise(t *testing.T, file string, size int64) string {
	t.Helper()
	var seed [32]byte
	for i := range seed {
		seed[i] = byte(rand.Uint32())
	}
	f, err := os.Create(file)
	check(t, err)
	sum := sha256.New()
	_, err = io.CopyN(io.MultiWriter(f, sum), rand.NewChaCha8(seed), size)
	check(t, err)
	check(t, f.Close())
	return hex.EncodeToString(sum.Sum(nil))
}

func sendByNode(t *testing.T, file, url string) {
	t.Helper()
	runNode(t, nil, "node", "test/tus.mjs", file, url)
}

// sendByBrowser uploads a file from a page of another origin.
func sendByBrowser(t *testing.T, file, url string) {
	t.Helper()
	site := http.NewServeMux()
	site.Handle("/", http.FileServer(http.Dir(clientFolder)))
	site.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file) })
	pages := httptest.NewServer(site)
	t.Cleanup(pages.Close)
	var r struct{ Size, Retries int64 }
	startBrowserAt(t, pages.URL+"/test/tus.html").run(t, map[string]any{"upload": url}, &r)
	t.Logf("the page sent %d bytes with %d retries", r.Size, r.Retries)
}

// wantSource checks that the source of a video has the bytes that were sent.
func wantSource(t *testing.T, p *process, video string, size int64, sum string) {
	t.Helper()
	view, err := p.client().Video(t.Context(), video)
	check(t, err)
	if view.SHA256 != sum || view.Size != size {
		t.Errorf("the source has %d bytes, SHA-256 %s; want %d, %s", view.Size, view.SHA256, size, sum)
	}
}

// cutter stands between clients and the program. After some of a client's bytes it kills the program and starts it
// again, as long as kills are left, or only cuts the connection, as long as cuts are left.
type cutter struct {
	t     *testing.T
	url   string
	start func() *process
	next  func(*rand.Rand) int64 // bytes until the next fault

	mu                       sync.Mutex
	p                        *process
	random                   *rand.Rand
	kills, killed, cuts, cut int
	left, sent               int64
}

func startCutter(t *testing.T, args []string, next func(*rand.Rand) int64) *cutter {
	t.Helper()
	data := t.TempDir()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	c := &cutter{t: t, next: next, random: rand.New(rand.NewPCG(seed, 1))}
	c.start = func() *process { return startServe(t, binary, data, args...) }
	c.p, c.left = c.start(), next(c.random)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	c.url = "http://" + l.Addr().String()
	var open sync.WaitGroup
	t.Cleanup(func() { l.Close(); open.Wait() })
	open.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() { c.serve(conn) })
		}
	})
	return c
}

// server returns the running program.
func (c *cutter) server() *process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.p
}

// serve carries the bytes of a connection in both directions until one side ends, or a fault comes.
func (c *cutter) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", strings.TrimPrefix(c.server().url, "http://"))
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		_, _ = io.Copy(client, server) // either side may end at any time
		client.Close()
	}()
	buf := make([]byte, 16<<10)
	for {
		n, err := client.Read(buf)
		through, fault := c.count(int64(n))
		if _, werr := server.Write(buf[:through]); err != nil || werr != nil && !fault {
			return
		}
		if fault {
			c.strike()
			return
		}
	}
}

// count returns how many of n bytes go through, and whether a fault comes after them.
func (c *cutter) count(n int64) (through int64, fault bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent += n
	if c.killed >= c.kills && c.cut >= c.cuts || n < c.left {
		c.left -= n
		return n, false
	}
	through, c.left = c.left, c.next(c.random)
	return through, true
}

// strike kills the program and starts it again, or counts a cut. Others wait meanwhile.
func (c *cutter) strike() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut < c.cuts {
		c.cut++
		return
	}
	c.p.kill()
	c.p = c.start()
	c.killed++
}
