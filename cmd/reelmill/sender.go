package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bytesize"
	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/storage/claim"
)

// memoryFlags say where uploads are remembered.
type memoryFlags struct {
	State string `help:"${state_help}" type:"path" env:"REELMILL_STATE" placeholder:"DIR"`
}

// folder returns the folder for the memory of a command; empty if there is none.
func (f memoryFlags) folder(command string) string {
	root := f.State
	if root == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "" // a user without a home
		}
		root = filepath.Join(cache, "reelmill")
	}
	return filepath.Join(root, command)
}

// sender uploads files, and remembers each upload in a file of its own, so that another run goes on with it.
type sender struct {
	wishes
	api    *client.Client
	server webURL
	memory string // folder; empty: nothing is remembered
	line   func(string)
	absent sync.Once // says that there is no server
}

// parcel is a file to upload.
type parcel struct {
	path  string
	again int // how often the same path came before in one command: each is a video of its own
}

// parcels numbers files that come more than once.
func parcels(files []string) (all []parcel) {
	seen := map[string]int{}
	for _, file := range files {
		key := file
		if absolute, err := filepath.Abs(file); err == nil {
			key = absolute
		}
		all = append(all, parcel{file, seen[key]})
		seen[key]++
	}
	return all
}

// resumable reports whether a file can be sent in pieces: not a pipe, and not with an image.
func (s *sender) resumable(p parcel) bool {
	info, err := os.Stat(p.path)
	image := s.Watermark != "" && !client.IsParameters(string(s.Watermark))
	return err == nil && info.Mode().IsRegular() && !image
}

// stateOf returns the path of the file that remembers an upload; empty if there is none. It depends on all
// that makes another video.
func (s *sender) stateOf(p parcel) (string, error) {
	if s.memory == "" {
		return "", nil
	}
	absolute, err := filepath.Abs(p.path)
	if err != nil {
		return "", err
	}
	raw, err := json.Marshal([]any{string(s.server), absolute, p.again, s.wishes})
	if err != nil {
		return "", fmt.Errorf("encode the options of an upload: %w", err)
	}
	sum := sha256.Sum256(raw)
	return filepath.Join(s.memory, hex.EncodeToString(sum[:16])+".json"), nil
}

// send uploads a file, or goes on with its upload. sent is called with the progress.
func (s *sender) send(ctx context.Context, p parcel, sent func(n, total int64)) (pipeline.VideoView, error) {
	if isAddress(p.path) {
		return s.fetch(ctx, p)
	}
	again := s.tell(p.path)
	if !s.resumable(p) {
		up := s.upload(p.path)
		up.Progress, up.Again = sent, again
		view, err := s.api.Upload(ctx, up)
		if err != nil && ctx.Err() != nil {
			return view, fmt.Errorf("it was cut short, and the server keeps nothing of it: %w", err)
		}
		return view, err
	}
	path, err := filepath.Abs(p.path)
	if err != nil {
		return pipeline.VideoView{}, err
	}
	state, err := s.stateOf(p)
	if err != nil {
		return pipeline.VideoView{}, err
	}
	if state != "" {
		release, err := s.claim(state)
		if err != nil {
			return pipeline.VideoView{}, err
		}
		defer release()
	}
	var reached, size int64
	view, err := s.api.UploadFile(ctx, path, client.Options{
		Name: filepath.Base(path), Pipeline: s.Pipeline, Priority: pipeline.Priority(s.Priority), Title: s.Title,
		Metadata: s.Metadata, Passthrough: s.Passthrough, Watermark: string(s.Watermark),
		WebhookURL: string(s.WebhookURL), PlaybackPolicy: s.policy(), State: state, Again: again,
		Progress: func(n, total int64) {
			reached, size = n, total
			sent(n, total)
		},
	})
	if err != nil && ctx.Err() != nil {
		return view, fmt.Errorf("it stopped after %s of %s; %s: %w", bytesize.Size(reached), bytesize.Size(size),
			s.howToGoOn(), err)
	}
	return view, err
}

// howToGoOn says what to do after an interruption.
func (s *sender) howToGoOn() string {
	if s.memory == "" {
		return "there is no place to remember that (name one with --state), so the same command begins anew"
	}
	return "to go on, run the same command again"
}

// claim keeps other processes from the same upload until it is released.
func (s *sender) claim(state string) (release func(), err error) {
	if err := os.MkdirAll(filepath.Dir(state), 0o700); err != nil {
		return nil, fmt.Errorf("make the folder that remembers uploads, or name another with --state: %w", err)
	}
	lock := state + ".lock"
	held, err := claim.Take(lock)
	if errors.Is(err, claim.ErrTaken) {
		return nil, fmt.Errorf("%s uploads it already", claim.Holder(lock))
	}
	if err != nil {
		return nil, err
	}
	return func() { _ = held.Release() }, nil // the system releases it otherwise
}

// before returns the video that an earlier run has made of a file, if nothing was changed since.
func (s *sender) before(p parcel) (id string) {
	state, err := s.stateOf(p)
	if err != nil || state == "" {
		return ""
	}
	m, err := client.ReadUploadMemory(state)
	info, failed := os.Stat(p.path)
	if err != nil || failed != nil || !m.Completed || !m.Of(info) {
		return ""
	}
	return m.Video
}

// forget removes what is remembered about files: the next run uploads them anew.
func (s *sender) forget(all []parcel) error {
	var failed error
	for _, p := range all {
		state, err := s.stateOf(p)
		if err == nil && state != "" {
			err = os.Remove(state)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// memoryAge is how long an upload is remembered: the server forgets one sooner.
const memoryAge = 7 * 24 * time.Hour

// sweep removes what is remembered for too long. It is of no use any more, so an error does not matter.
func (s *sender) sweep() {
	entries, _ := os.ReadDir(s.memory)
	for _, entry := range entries {
		info, err := entry.Info()
		if err == nil && entry.Type().IsRegular() && time.Since(info.ModTime()) > memoryAge {
			os.Remove(filepath.Join(s.memory, entry.Name()))
		}
	}
}

// tell returns a function that says, once for a file, that its upload is tried again. It says so once for all
// files when no server answers.
func (s *sender) tell(file string) func(error) {
	var told sync.Once
	return func(err error) {
		if none, ok := errors.AsType[*noServerError](err); ok {
			s.absent.Do(func() {
				s.line(fmt.Sprintf("no server at %s: %v; trying again for %.0f s", none.server, none.err,
					client.RetryTime.Seconds()))
			})
			return
		}
		told.Do(func() { s.line(fmt.Sprintf("upload %s: %v; trying again", file, err)) })
	}
}
