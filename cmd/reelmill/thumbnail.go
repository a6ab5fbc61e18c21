package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/human"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bytesize"
	"github.com/reelmill/reelmill/pipeline/client"
)

type videosThumbnail struct {
	serverFlags
	videoArg
	Out    string   `help:"File for the image, which is replaced: .jpg or .webp." required:"" placeholder:"FILE"`
	Time   *float64 `help:"Time of the frame, in seconds. Default: the poster." placeholder:"SECONDS"`
	Width  int      `help:"Width in pixels. Default: by the height." placeholder:"PIXELS"`
	Height int      `help:"Height in pixels. Default: by the width." placeholder:"PIXELS"`
	Fit    string   `help:"How the frame fills width and height: ${enum}." enum:"preserve, stretch, crop, pad" default:"preserve"`
}

// Validate is called by kong.
func (c videosThumbnail) Validate() error {
	if err := c.videoArg.Validate(); err != nil {
		return err
	}
	_, err := c.format()
	return err
}

// format returns the format that the name of the file says.
func (c videosThumbnail) format() (pipeline.StillFormat, error) {
	switch ext := strings.ToLower(filepath.Ext(c.Out)); ext {
	case ".jpg", ".jpeg":
		return pipeline.StillJPEG, nil
	case ".webp":
		return pipeline.StillWebP, nil
	default:
		return "", fmt.Errorf("--out %s: the name must end in .jpg or .webp", c.Out)
	}
}

// Run saves an image of a frame.
func (c videosThumbnail) Run(ctx context.Context, s streams) error {
	format, err := c.format()
	if err != nil {
		return err
	}
	image, err := c.client().Thumbnail(ctx, c.ID, client.Thumbnail{
		Time: c.Time, Width: c.Width, Height: c.Height, Fit: pipeline.Fit(c.Fit), Format: format,
	})
	if err != nil {
		return err
	}
	if err := os.WriteFile(c.Out, image, 0o666); err != nil {
		return fmt.Errorf("save the thumbnail: %w", err)
	}
	saved := struct {
		File string `json:"file"`
		Size int    `json:"size"`
	}{c.Out, len(image)}
	return c.print(s, saved, func(w io.Writer) {
		human.Fprintf(w, "%s\t%s\n", saved.File, bytesize.Size(int64(saved.Size)))
	})
}
