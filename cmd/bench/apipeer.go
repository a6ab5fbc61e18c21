package main

import (
	"context"
	"crypto/sha256"
	"encoding"
	"encoding/json"
	"flag"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"os"
	"sync"

	"github.com/tus/tusd/v2/pkg/filestore"
	"github.com/tus/tusd/v2/pkg/handler"
	"golang.org/x/exp/slog"
)

// The kinds of servers that the API is compared with. Each is a process of its own, on net/http as ours.
const (
	// peerTusd is the handler of tusd with its own file store. It answers when the kernel has the bytes: a
	// power cut loses them, and nobody knows their hash.
	peerTusd = "tusd"
	// peerDurable is peerTusd that keeps the promises of ours: it hashes the bytes as they pass, and syncs the
	// file and a note with the state of the hash before each answer.
	peerDurable = "tusd-durable"
	// peerAnswer answers from a file of JSON: an object with the bytes for each path.
	peerAnswer = "answer"
)

// runPeer runs such a server until ctx ends.
func runPeer(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("bench peer", flag.ContinueOnError)
	kind := flags.String("kind", "", "tusd, tusd-durable or answer")
	file := flags.String("file", "", "what answer answers")
	data := flags.String("data", "", "folder for uploads")
	if err := flags.Parse(args); err != nil {
		return err
	}
	h, err := peerHandler(*kind, *data, *file)
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: h}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })() // Serve returns, whatever Close says
	ready := map[string]any{"ready": true, "url": "http://" + l.Addr().String()}
	if err := json.NewEncoder(out).Encode(ready); err != nil {
		return err
	}
	if err := server.Serve(l); ctx.Err() == nil {
		return err
	}
	return nil
}

func peerHandler(kind, data, file string) (http.Handler, error) {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, err
	}
	composer := handler.NewStoreComposer()
	store := filestore.New(data)
	switch kind {
	case peerAnswer:
		return answerer(file)
	case peerTusd:
		store.UseIn(composer)
	case peerDurable:
		composer.UseCore(&durableStore{FileStore: store, hashes: map[string]hash.Hash{}})
	default:
		return nil, fmt.Errorf("-kind: unknown peer %q", kind)
	}
	tusd, err := handler.NewHandler(handler.Config{
		StoreComposer: composer, BasePath: "/v1/tus/", Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/v1/tus", http.StripPrefix("/v1/tus", tusd))
	mux.Handle("/v1/tus/", http.StripPrefix("/v1/tus/", tusd))
	return mux, nil
}

// answerer answers from memory with what a file has.
func answerer(file string) (http.Handler, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var answers map[string][]byte
	if err := json.Unmarshal(raw, &answers); err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := answers[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body) // the client compares what arrives
	}), nil
}

// durableStore is a file store whose answers survive a power cut.
type durableStore struct {
	filestore.FileStore
	mu     sync.Mutex
	hashes map[string]hash.Hash // by the id of the upload
}

// NewUpload implements tusd's DataStore.
func (s *durableStore) NewUpload(ctx context.Context, info handler.FileInfo) (handler.Upload, error) {
	u, err := s.FileStore.NewUpload(ctx, info)
	if err != nil {
		return nil, err
	}
	made, err := u.GetInfo(ctx)
	if err != nil {
		return nil, err
	}
	return s.durable(u, made), nil
}

// GetUpload implements tusd's DataStore.
func (s *durableStore) GetUpload(ctx context.Context, id string) (handler.Upload, error) {
	u, err := s.FileStore.GetUpload(ctx, id)
	if err != nil {
		return nil, err
	}
	info, err := u.GetInfo(ctx)
	if err != nil {
		return nil, err
	}
	return s.durable(u, info), nil
}

func (s *durableStore) durable(u handler.Upload, info handler.FileInfo) *durableUpload {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hashes[info.ID] == nil {
		s.hashes[info.ID] = sha256.New()
	}
	return &durableUpload{Upload: u, path: info.Storage[filestore.StorageKeyPath], hash: s.hashes[info.ID]}
}

// durableUpload is one upload of a durableStore.
type durableUpload struct {
	handler.Upload
	path string
	hash hash.Hash
}

// WriteChunk implements tusd's Upload.
func (u *durableUpload) WriteChunk(ctx context.Context, offset int64, src io.Reader) (int64, error) {
	n, err := u.Upload.WriteChunk(ctx, offset, io.TeeReader(src, u.hash))
	if err != nil {
		return n, err
	}
	state, err := u.hash.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return n, err
	}
	if err := os.WriteFile(u.path+".hash", state, 0o600); err != nil {
		return n, err
	}
	if err := syncFile(u.path); err != nil {
		return n, err
	}
	return n, syncFile(u.path + ".hash")
}

// syncFile makes what was written to a file survive a power cut.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		_ = f.Close() // nothing was written through it
		return err
	}
	return f.Close()
}
