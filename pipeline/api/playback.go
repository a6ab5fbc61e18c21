package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/playback"
	"github.com/reelmill/reelmill/storage"
)

// A viewer's token stands in this parameter of the query, or in this cookie. The parameter comes first.
const (
	tokenQuery  = "token"
	tokenCookie = "reelmill_playback"
)

// viewing is what a request for playback may play.
type viewing struct {
	video, path string
	signed      bool            // the video needs a permission; the rest says which
	permit      playback.Permit // as it is, with the end of the token or pass
	lead        string          // the pass that URLs are led below; empty: they keep theirs, or need none
	cookie      bool            // the permission came in a cookie
}

// playFile serves a path below a video to whoever may play it.
func (s *server) playFile(w http.ResponseWriter, r *http.Request, video, path string) {
	w.Header().Set("Content-Security-Policy", playPolicy) // of refusals, too
	v, err := s.viewing(r, video, path)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	if v.cookie {
		w.Header().Add("Vary", "Cookie")
	}
	if f, ok := stillAt(v.path); ok {
		if u := withoutViewer(r.URL); u.RawQuery != "" {
			s.playStill(w, r, v, u, f)
			return
		}
	}
	s.playPath(w, r, v)
}

// withoutViewer returns u without the token of a viewer.
func withoutViewer(u *url.URL) *url.URL {
	if !strings.Contains(u.RawQuery, tokenQuery+"=") {
		return u
	}
	q := u.Query()
	q.Del(tokenQuery)
	bare := *u
	bare.RawQuery = q.Encode()
	return &bare
}

// viewing judges a request. A video that nobody knows is not signed: it has nothing to play.
func (s *server) viewing(r *http.Request, video, path string) (viewing, error) {
	v, pass := viewing{video: video, path: path}, ""
	if after, ok := strings.CutPrefix(path, playback.Mark); ok {
		pass, v.path, _ = strings.Cut(after, "/")
	}
	if checkVideo(video) != nil {
		return v, nil //nolint:nilerr // what cannot be an id is the id of no video
	}
	project, policy, err := s.cfg.Catalog.Playback(r.Context(), video)
	if errors.Is(err, pipeline.ErrNotFound) {
		return v, nil
	}
	if err != nil || !policy.Signed() {
		return v, err
	}
	v.signed = true
	asked := playback.Asked{Project: project, Video: video, Path: v.path, Client: s.guard.addressOf(r)}
	if pass != "" {
		err = s.judgePass(r.Context(), &v, asked, pass)
	} else {
		err = s.judgeToken(r, &v, asked)
	}
	return v, playbackFailure(err)
}

// errNoToken: a request for a signed video has neither token nor pass.
var errNoToken = errors.New("there is no token")

func (s *server) judgePass(ctx context.Context, v *viewing, asked playback.Asked, pass string) (err error) {
	if s.cfg.Playback == nil {
		return errNoToken
	}
	v.permit, err = s.cfg.Playback.Pass(ctx, asked, pass)
	return err
}

// judgeToken judges the token in the query or, without one, those in cookies: a browser sends one for each
// path that cookies were set for, and the first that fits counts.
func (s *server) judgeToken(r *http.Request, v *viewing, asked playback.Asked) (err error) {
	tokens := r.URL.Query()[tokenQuery]
	if len(tokens) == 0 {
		for _, c := range r.CookiesNamed(tokenCookie) {
			tokens, v.cookie = append(tokens, c.Value), true
		}
	} else {
		tokens = tokens[:1]
	}
	err = errNoToken
	if s.cfg.Playback == nil {
		return err
	}
	for _, token := range tokens {
		if v.permit, err = s.cfg.Playback.Token(r.Context(), asked, token); err == nil {
			v.lead, _ = s.cfg.Playback.NewPass(v.permit)
			return nil
		}
	}
	return err
}

// playbackFailure is the answer to an error of a Judge.
func playbackFailure(err error) error {
	reason := func(of error) string { return strings.TrimPrefix(err.Error(), of.Error()+": ") }
	switch {
	case errors.Is(err, errNoToken):
		return fail(codePlaybackMissing, "The video plays with a token only, and the request has none.")
	case errors.Is(err, playback.ErrExpired):
		return fail(codePlaybackExpired, "The permission to play has ended: %s.", reason(playback.ErrExpired))
	case errors.Is(err, playback.ErrInvalid):
		return fail(codePlaybackInvalid, "The token does not play this: %s.", reason(playback.ErrInvalid))
	case errors.Is(err, access.ErrStale):
		return fail(codeUnavailable, "The server cannot know now whether the key of the token is still valid.").
			because(err)
	}
	return err
}

// cache returns the Cache-Control of content that may be kept for so many seconds. Nothing outlives the
// permission. Whoever has the URL of a pass has the permission, so caches may share what is below it, unless
// only some addresses have it. Another URL says nothing about who may see what is answered.
func (v viewing) cache(seconds int) string {
	if !v.signed {
		return "public, max-age=" + strconv.Itoa(seconds)
	}
	left := max(0, int(time.Until(v.permit.Expires)/time.Second))
	scope := "private"
	if v.lead == "" && v.permit.Shared() {
		scope = "public"
	}
	return scope + ", max-age=" + strconv.Itoa(min(seconds, left)) + ", must-revalidate"
}

// maxLed is more than a playlist has: that of 6 hours has about 200 KiB.
const maxLed = 16 << 20

// playLed serves a playlist, or what else refers to files of the video, with its URLs below the pass.
func (s *server) playLed(w http.ResponseWriter, r *http.Request, v viewing, object pipeline.Object,
	info storage.Info,
) {
	text, err := s.readAll(r.Context(), object.Key, info.Size)
	if err != nil {
		s.refuse(w, r, fail(codeStorageFailed, "The object store did not answer.").because(err))
		return
	}
	s.sendText(w, r, v, playType(object), playSeconds, text)
}

func (s *server) readAll(ctx context.Context, key string, size int64) ([]byte, error) {
	if size > maxLed {
		return nil, fmt.Errorf("%s has %d bytes, more than any playlist", key, size)
	}
	body, _, err := s.cfg.Store.Get(ctx, key, storage.Range{})
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(body, maxLed))
	return text, errors.Join(err, body.Close())
}

// sendText serves a text that is in memory, whole or in ranges.
func (s *server) sendText(
	w http.ResponseWriter, r *http.Request, v viewing, media string, seconds int, text []byte,
) {
	if v.lead != "" {
		text = playback.Lead(v.path, text, v.lead)
	}
	sum := sha256.Sum256(text)
	describeContent(r, w.Header(), media, v.cache(seconds), `"`+hex.EncodeToString(sum[:])+`"`)
	out := &rangeProblem{ResponseWriter: w, s: s, r: r}
	http.ServeContent(out, r, "", time.Time{}, bytes.NewReader(text))
}

// shownPlayPath returns a path as the log has it: without the pass.
func shownPlayPath(path string) string {
	rest, ok := strings.CutPrefix(path, "/play/")
	if !ok {
		return path
	}
	video, file, _ := strings.Cut(rest, "/")
	if !strings.HasPrefix(file, playback.Mark) {
		return path
	}
	_, file, _ = strings.Cut(file, "/")
	return "/play/" + video + "/" + playback.Mark + "***/" + file
}
