package client

import (
	"context"
	"errors"
	"net/url"
	"strconv"

	"github.com/reelmill/reelmill/pipeline"
)

// Thumbnail says which frame of a video becomes an image. The zero Thumbnail is the poster.
type Thumbnail struct {
	// Time of the frame, in seconds from the start of the video. Nil: the poster.
	Time *float64
	// Width and Height in pixels, 16 to 3840. 0: it follows from the other; both 0: as large as there is.
	Width, Height int
	Fit           pipeline.Fit         // how both are filled; pipeline.FitPreserve when empty
	Format        pipeline.StillFormat // pipeline.StillJPEG when empty
}

// Thumbnail returns an image of a frame, which the server makes if it is the first to ask for it. Of a signed
// video, it is shown to whoever may read the video. The code
// not_playable says that there is no picture yet.
func (c *Client) Thumbnail(ctx context.Context, id string, t Thumbnail) ([]byte, error) {
	q := url.Values{}
	if t.Time != nil {
		q.Set("time", strconv.FormatFloat(*t.Time, 'f', -1, 64))
	}
	for name, side := range map[string]int{"width": t.Width, "height": t.Height} {
		if side != 0 {
			q.Set(name, strconv.Itoa(side))
		}
	}
	if t.Fit != "" {
		q.Set("fit", string(t.Fit))
	}
	if t.Format == "" {
		t.Format = pipeline.StillJPEG
	}
	var image []byte
	name := "thumbnail." + string(t.Format)
	err := c.get(ctx, pipeline.PlayURL("", url.PathEscape(id), name), q, &image)
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != "playback_token_missing" {
		return image, err
	}
	pass, err := c.passOf(ctx, id)
	if err == nil {
		err = c.get(ctx, pipeline.PlayURL("", url.PathEscape(id), pass+name), q, &image)
	}
	return image, err
}
