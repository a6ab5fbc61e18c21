package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/playback"
)

// How long the URLs of a reader play.
const (
	readerTime    = 10 * time.Minute
	maxReaderTime = time.Hour
)

var opPlaybackURLs = huma.Operation{
	OperationID: "playback-urls", Method: http.MethodPost, Path: "/v1/videos/{id}/playback_urls",
	Tags: []string{"playback"}, Summary: "Make URLs that play a video for a while", DefaultStatus: http.StatusOK,
	Description: "For whoever may read the video, such as a console: URLs with a pass, which play a signed " +
		"video until `expires_at`, or until the API key that made them is revoked. Whoever has such a URL " +
		"can use it. Viewers of a site get tokens of a signing key instead. Those of a public video are its " +
		"usual ones.",
}

type playbackURLsInput struct {
	ID      string `path:"id" doc:"The video's id"`
	Seconds int    `query:"seconds" minimum:"1" maximum:"3600" default:"600" doc:"How long they play"`
}

// playbackURLs are the URLs of a video for a reader.
type playbackURLs struct {
	BaseURL   string     `json:"base_url" doc:"Outputs of the video are below it, such as thumbnail.jpg"`
	PlayURL   string     `json:"play_url,omitempty" doc:"Of the HLS manifest; absent until the video is playable"`
	DASHURL   string     `json:"dash_url,omitempty" doc:"Of the DASH manifest; absent until there is one"`
	ExpiresAt *time.Time `json:"expires_at" doc:"null: they do not expire, since the video is public"`
}

type playbackURLsOutput struct {
	Cache string `header:"Cache-Control"`
	Body  playbackURLs
}

func (s *server) makePlaybackURLs(ctx context.Context, in *playbackURLsInput) (*playbackURLsOutput, error) {
	if err := checkVideo(in.ID); err != nil {
		return nil, noSuch("video", err)
	}
	view, err := s.cfg.Catalog.Video(ctx, projectOf(ctx), in.ID)
	if err != nil {
		return nil, noSuch("video", err)
	}
	prefix, urls := "", playbackURLs{}
	if view.PlaybackPolicy.Signed() {
		if s.cfg.Playback == nil {
			return nil, fail(codeUnavailable, "This server plays no signed videos.")
		}
		g := grantOf(ctx)
		pass, end := s.cfg.Playback.NewPass(playback.Permit{
			Video: in.ID, Issuer: g.Key, Expires: readerEnd(g, time.Duration(in.Seconds)*time.Second),
		})
		prefix, urls.ExpiresAt = playback.Mark+pass+"/", &end
	}
	urls.BaseURL = pipeline.PlayURL(s.cfg.PublicURL, in.ID, prefix)
	if view.Manifest != "" {
		urls.PlayURL = urls.BaseURL + view.Manifest
	}
	if view.DASH != "" {
		urls.DASHURL = urls.BaseURL + view.DASH
	}
	return &playbackURLsOutput{"no-store", urls}, nil
}

// readerEnd returns when the URLs of a reader end: never after its credential, but for the rounding of a
// pass.
func readerEnd(g access.Grant, wanted time.Duration) time.Time {
	if wanted <= 0 {
		wanted = readerTime
	}
	end := time.Now().Add(min(wanted, maxReaderTime))
	if !g.Expires.IsZero() && g.Expires.Before(end) {
		end = g.Expires
	}
	return end
}
