package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/reelmill/reelmill/pipeline/client"
)

// source is a file to upload.
type source struct {
	path   string
	size   int64
	sha256 string
}

// makeSource makes a file of so many bytes, which no disk can compress.
func makeSource(path string, size int64) (s source, err error) {
	f, err := os.Create(path)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := sha256.New()
	random := io.LimitReader(rand.NewChaCha8([32]byte{}), size)
	if _, err := io.CopyBuffer(io.MultiWriter(f, sum), random, make([]byte, 1<<20)); err != nil {
		return s, err
	}
	return source{path, size, hex.EncodeToString(sum.Sum(nil))}, nil
}

// begin returns the first bytes of a source as a source of its own.
func (s source) begin(size int64) (source, error) {
	f, err := os.Open(s.path)
	if err != nil {
		return s, err
	}
	defer f.Close()
	sum := sha256.New()
	_, err = io.CopyN(sum, f, size)
	return source{s.path, size, hex.EncodeToString(sum.Sum(nil))}, err
}

// contestant is one way to keep a file.
type contestant struct {
	name string
	// keep keeps the file, and returns when it is kept.
	keep func(context.Context, source) error
	// folder is where it is kept, and clear removes it.
	folder string
	clear  func(context.Context) error
	pid    int // of its process; 0: none that stays

	seconds []float64
}

// compareUploads lets the contestants keep the file, turn by turn.
func (b *apiBench) compareUploads(ctx context.Context) error {
	all, err := b.contestants(ctx)
	if err != nil {
		return err
	}
	file, err := b.source.begin(int64(b.size))
	if err != nil {
		return err
	}
	for turn := range b.repeat {
		for i := range all {
			if err := b.compete(ctx, all[(i+turn)%len(all)], file); err != nil {
				return err
			}
		}
	}
	seconds := map[string][]float64{}
	for _, c := range all {
		seconds[c.name] = c.seconds
		speeds := make([]float64, len(c.seconds))
		for i, s := range c.seconds {
			speeds[i] = float64(file.size) / 1e6 / s
		}
		b.add("upload: "+c.name, "MB/s", speeds, aim{}, "")
	}
	whole := int64(b.piece) >= file.size
	for _, r := range []struct {
		us, peer string
		aim      aim
	}{
		{"tus", "tusd", atLeast(0.9)}, {"tus", "tusd durable", aim{}}, {"tus", "cp + fsync", aim{}},
		{"tus in pieces", "tusd in pieces", atLeast(0.9)}, {"tus in pieces", "tusd durable in pieces", aim{}},
		{"PUT", "tusd", atLeast(0.9)}, {"PUT", "tusd durable", aim{}}, {"PUT", "cp + fsync", aim{}},
	} {
		if whole && strings.Contains(r.us, "pieces") {
			continue // it would be the same as the line without
		}
		b.add("speed: ours, "+r.us+" / "+r.peer, "", ratios(seconds[r.peer], seconds["ours, "+r.us]), r.aim, "")
	}
	b.stopAll()
	return nil
}

// contestants starts the servers.
func (b *apiBench) contestants(ctx context.Context) ([]*contestant, error) {
	ours, err := b.serveAPI(ctx)
	if err != nil {
		return nil, err
	}
	all := []*contestant{
		b.byTus("ours, tus", ours, 0), b.byTus("ours, tus in pieces", ours, int64(b.piece)),
		b.byPut("ours, PUT", ours),
	}
	for kind, name := range map[string]string{peerTusd: "tusd", peerDurable: "tusd durable"} {
		peer, err := b.peer(ctx, kind)
		if err != nil {
			return nil, err
		}
		all = append(all, b.byTus(name, peer, 0), b.byTus(name+" in pieces", peer, int64(b.piece)))
	}
	copied := filepath.Join(b.dir, "copies")
	return append(all, &contestant{
		name: "cp + fsync", folder: copied,
		keep: func(ctx context.Context, s source) error {
			return copyWithCp(ctx, s.path, filepath.Join(copied, "copy"))
		},
		clear: func(context.Context) error { return os.Remove(filepath.Join(copied, "copy")) },
	}), os.MkdirAll(copied, 0o700)
}

// byTus uploads by tus with pieces of so many bytes; 0: all in one.
func (b *apiBench) byTus(name string, p *process, piece int64) *contestant {
	c := &contestant{name: name, folder: p.data, pid: p.pid}
	c.keep = func(ctx context.Context, s source) error { return sendByTus(ctx, p.url, s, piece) }
	c.clear = func(ctx context.Context) error { return clearUploads(ctx, p) }
	return c
}

// byPut uploads with one PUT.
func (b *apiBench) byPut(name string, p *process) *contestant {
	c := &contestant{name: name, folder: p.data, pid: p.pid}
	c.keep = func(ctx context.Context, s source) error {
		f, err := os.Open(s.path)
		if err != nil {
			return err
		}
		defer f.Close()
		return sendByPut(ctx, http.DefaultClient, p.url, io.NewSectionReader(f, 0, s.size), s.size)
	}
	c.clear = func(ctx context.Context) error { return clearUploads(ctx, p) }
	return c
}

// compete measures one run, checks the file, and removes it.
func (b *apiBench) compete(ctx context.Context, c *contestant, file source) error {
	syscall.Sync() // what others wrote before is not written during this run
	others, own, begun := watchOthers(), processorTime(c.pid), time.Now()
	if err := c.keep(ctx, file); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	seconds := time.Since(begun).Seconds()
	b.busyOthers(c.name, others(processorTime(c.pid)-own))
	c.seconds = append(c.seconds, seconds)
	if err := checkKept(c.folder, file); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	b.say("%s: %.2f s", c.name, seconds)
	return c.clear(ctx)
}

// checkKept returns an error unless the folder has the file.
func checkKept(folder string, want source) error {
	found := ""
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // it is gone
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() && info.Size() == want.size {
			found = path
		}
		return nil
	})
	if err != nil || found == "" {
		return errors.Join(err, fmt.Errorf("%s has no file of %d bytes", folder, want.size))
	}
	f, err := os.Open(found)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != want.sha256 {
		return fmt.Errorf("%s has the SHA-256 %s, want %s", found, got, want.sha256)
	}
	return nil
}

// clearUploads removes what a server keeps: the videos of ours, the files of tusd.
func clearUploads(ctx context.Context, p *process) error {
	if !strings.HasSuffix(p.data, "-peer") {
		api := client.New(p.url, nil)
		for v, err := range api.Videos(ctx, client.ListOptions{}) {
			if err == nil {
				err = api.Delete(ctx, v.ID)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	entries, err := os.ReadDir(p.data)
	for _, e := range entries {
		err = errors.Join(err, os.Remove(filepath.Join(p.data, e.Name())))
	}
	return err
}

const (
	tusBytes    = "application/offset+octet-stream"
	tusFilename = "filename YmVuY2gubXA0" // bench.mp4
)

// sendByTus creates an upload, and sends its bytes in pieces; 0: all in one.
func sendByTus(ctx context.Context, base string, s source, piece int64) error {
	f, err := os.Open(s.path)
	if err != nil {
		return err
	}
	defer f.Close()
	at, err := createByTus(ctx, http.DefaultClient, base, s.size)
	if err != nil {
		return err
	}
	if piece <= 0 {
		piece = s.size
	}
	for offset := int64(0); offset < s.size; offset += piece {
		n := min(piece, s.size-offset)
		body := io.NewSectionReader(f, offset, n)
		if err := patchByTus(ctx, http.DefaultClient, at, body, offset, n); err != nil {
			return err
		}
	}
	return nil
}

// createByTus creates an upload, and returns its URL.
func createByTus(ctx context.Context, by *http.Client, base string, size int64) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/v1/tus", nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Tus-Resumable", "1.0.0")
	req.Header.Set("Upload-Length", strconv.FormatInt(size, 10))
	req.Header.Set("Upload-Metadata", tusFilename)
	_, answer, err := call(by, req, http.StatusCreated)
	if err != nil {
		return "", err
	}
	at, err := req.URL.Parse(answer.Get("Location"))
	return at.String(), err
}

// patchByTus sends the bytes of a piece.
func patchByTus(ctx context.Context, by *http.Client, at string, body io.Reader, offset, size int64) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, at, body)
	if err != nil {
		return err
	}
	req.ContentLength = size
	req.Header.Set("Tus-Resumable", "1.0.0")
	req.Header.Set("Content-Type", tusBytes)
	req.Header.Set("Upload-Offset", strconv.FormatInt(offset, 10))
	_, answer, err := call(by, req, http.StatusNoContent)
	if err != nil {
		return err
	}
	if got := answer.Get("Upload-Offset"); got != strconv.FormatInt(offset+size, 10) {
		return fmt.Errorf("PATCH: the offset is %s, want %d", got, offset+size)
	}
	return nil
}

// call makes a request that must have the wanted answer.
func call(by *http.Client, req *http.Request, want int) (body []byte, header http.Header, err error) {
	answer, err := by.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	if body, err = io.ReadAll(answer.Body); err != nil {
		return nil, nil, err
	}
	if answer.StatusCode != want {
		return nil, nil, fmt.Errorf("%s %s: %s: %.300s", req.Method, req.URL, answer.Status, body)
	}
	return body, answer.Header, nil
}

// sendByPut creates an upload, and sends its bytes with one PUT.
func sendByPut(ctx context.Context, by *http.Client, base string, body io.Reader, size int64) error {
	create, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/v1/uploads",
		bytes.NewReader([]byte(`{"filename": "bench.mp4"}`)))
	if err != nil {
		return err
	}
	create.Header.Set("Content-Type", "application/json")
	raw, _, err := call(by, create, http.StatusCreated)
	if err != nil {
		return err
	}
	var made struct {
		URL string `json:"content_url"`
	}
	if err := json.Unmarshal(raw, &made); err != nil {
		return err
	}
	at, err := create.URL.Parse(made.URL)
	if err != nil {
		return err
	}
	put, err := http.NewRequestWithContext(ctx, http.MethodPut, at.String(), body)
	if err != nil {
		return err
	}
	put.ContentLength = size
	_, _, err = call(by, put, http.StatusOK)
	return err
}
