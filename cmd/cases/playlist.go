package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/Eyevinn/mp4ff/mp4"
)

// master is a master playlist: rungs, the largest first, and audio renditions, the default first.
type master struct {
	url    string
	rungs  []rung
	sounds []sound
}

// rung is a variant of a master playlist.
type rung struct {
	url           string // of its media playlist
	codecs        string
	width, height int
	rate          float64 // FRAME-RATE
	bandwidth     int
}

// String returns the size of the pictures, such as 1280x720.
func (r rung) String() string { return fmt.Sprintf("%dx%d", r.width, r.height) }

// sound is an audio rendition of a master playlist.
type sound struct {
	url      string
	name     string
	channels int // 0 if not given
}

// media is a media playlist.
type media struct {
	url       string
	target    int // EXT-X-TARGETDURATION
	ended     bool
	durations []float64 // EXTINF
	segments  []string  // URLs
	init      string    // URL
}

// sum returns the length by the playlist.
func (m media) sum() (seconds float64) {
	for _, d := range m.durations {
		seconds += d
	}
	return seconds
}

// attributes parses the attribute list of a tag (RFC 8216, section 4.2), and removes quotes.
func attributes(list string) map[string]string {
	all := map[string]string{}
	for list != "" {
		name, rest, ok := strings.Cut(list, "=")
		if !ok {
			break
		}
		var value string
		if strings.HasPrefix(rest, `"`) {
			value, rest, _ = strings.Cut(rest[1:], `"`)
			rest = strings.TrimPrefix(rest, ",")
		} else {
			value, rest, _ = strings.Cut(rest, ",")
		}
		all[strings.TrimSpace(name)] = value
		list = rest
	}
	return all
}

// parseMaster parses a master playlist whose URL is base.
func parseMaster(base string, text []byte) (master, error) {
	m := master{url: base}
	var variant map[string]string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		tag, list, _ := strings.Cut(line, ":")
		switch {
		case tag == "#EXT-X-STREAM-INF":
			variant = attributes(list)
		case tag == "#EXT-X-MEDIA":
			a := attributes(list)
			if a["TYPE"] != "AUDIO" {
				continue
			}
			channels, _, _ := strings.Cut(a["CHANNELS"], "/")
			count, _ := strconv.Atoi(channels) // 0 means not given
			at, err := resolve(base, a["URI"])
			if err != nil {
				return m, err
			}
			s := sound{url: at, name: a["NAME"], channels: count}
			if a["DEFAULT"] == "YES" {
				m.sounds = slices.Insert(m.sounds, 0, s)
			} else {
				m.sounds = append(m.sounds, s)
			}
		case line != "" && !strings.HasPrefix(line, "#") && variant != nil:
			r, err := newRung(base, line, variant)
			if err != nil {
				return m, err
			}
			m.rungs, variant = append(m.rungs, r), nil
		}
	}
	if len(m.rungs) == 0 {
		return m, errors.New("the master playlist lists no variant")
	}
	slices.SortStableFunc(m.rungs, func(a, b rung) int { return b.width*b.height - a.width*a.height })
	return m, nil
}

func newRung(base, uri string, a map[string]string) (r rung, err error) {
	r.codecs = a["CODECS"]
	if _, err := fmt.Sscanf(a["RESOLUTION"], "%dx%d", &r.width, &r.height); err != nil {
		return r, fmt.Errorf("RESOLUTION %q: %w", a["RESOLUTION"], err)
	}
	if r.rate, err = strconv.ParseFloat(a["FRAME-RATE"], 64); err != nil {
		return r, fmt.Errorf("FRAME-RATE: %w", err)
	}
	if r.bandwidth, err = strconv.Atoi(a["BANDWIDTH"]); err != nil {
		return r, fmt.Errorf("BANDWIDTH: %w", err)
	}
	r.url, err = resolve(base, uri)
	return r, err
}

// parseMedia parses a media playlist whose URL is base.
func parseMedia(base string, text []byte) (media, error) {
	m := media{url: base, target: -1}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		tag, value, _ := strings.Cut(line, ":")
		var err error
		switch {
		case tag == "#EXT-X-TARGETDURATION":
			m.target, err = strconv.Atoi(value)
		case tag == "#EXTINF":
			var d float64
			d, err = strconv.ParseFloat(strings.TrimSuffix(value, ","), 64)
			m.durations = append(m.durations, d)
		case tag == "#EXT-X-MAP":
			m.init, err = resolve(base, attributes(value)["URI"])
		case tag == "#EXT-X-ENDLIST":
			m.ended = true
		case line != "" && !strings.HasPrefix(line, "#"):
			var at string
			at, err = resolve(base, line)
			m.segments = append(m.segments, at)
		}
		if err != nil {
			return m, fmt.Errorf("%s: %w", line, err)
		}
	}
	if len(m.segments) != len(m.durations) || len(m.segments) == 0 {
		return m, fmt.Errorf("%d segments, %d EXTINF", len(m.segments), len(m.durations))
	}
	return m, nil
}

func resolve(base, reference string) (string, error) {
	b, err := url.Parse(base)
	if err != nil {
		return "", err
	}
	r, err := b.Parse(reference)
	if err != nil {
		return "", err
	}
	return r.String(), nil
}

// loadMaster fetches and parses a master playlist.
func loadMaster(ctx context.Context, at string) (master, error) {
	text, err := fetch(ctx, at)
	if err != nil {
		return master{}, err
	}
	return parseMaster(at, text)
}

// loadMedia fetches and parses a media playlist.
func loadMedia(ctx context.Context, at string) (media, error) {
	text, err := fetch(ctx, at)
	if err != nil {
		return media{}, err
	}
	m, err := parseMedia(at, text)
	if err != nil {
		return m, fmt.Errorf("%s: %w", at, err)
	}
	return m, nil
}

// boxes fetches an init section and the segments after it, and parses their boxes.
func boxes(ctx context.Context, init string, segments ...string) (*mp4.File, error) {
	var all []byte
	for _, at := range append([]string{init}, segments...) {
		part, err := fetch(ctx, at)
		if err != nil {
			return nil, err
		}
		all = append(all, part...)
	}
	return mp4.DecodeFile(bytes.NewReader(all))
}

// fetch returns the body at a URL, which must answer 200.
func fetch(ctx context.Context, at string) ([]byte, error) {
	answer, body, err := ask(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s", at, answer.Status)
	}
	return body, nil
}

// reply is an answer without its body.
type reply struct {
	StatusCode    int
	Status        string
	Header        http.Header
	ContentLength int64 // -1: not given
}

// ask sends a request without a body, and reads the whole answer.
func ask(ctx context.Context, method, at string, header http.Header) (a reply, body []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, method, at, nil)
	if err != nil {
		return a, nil, err
	}
	for name, values := range header {
		request.Header[name] = values
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return a, nil, err
	}
	defer answer.Body.Close()
	body, err = io.ReadAll(answer.Body)
	return reply{answer.StatusCode, answer.Status, answer.Header, answer.ContentLength}, body, err
}
