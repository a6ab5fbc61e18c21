package api

import (
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/reelmill/reelmill/pipeline"
)

// describeThumbnail describes GET and HEAD of thumbnails.
func describeThumbnail(method string) *huma.Operation {
	image := binary("The image")
	media := map[string]*huma.MediaType{"image/jpeg": {Schema: image}, "image/webp": {Schema: image}}
	id := "thumbnail"
	if method == http.MethodHead {
		id, media = "thumbnail-head", nil
	}
	return &huma.Operation{
		OperationID: id, Method: method, Path: "/play/{id}/thumbnail.{format}", Tags: []string{"playback"},
		Summary: "Show a frame of a video, in any size",
		Description: "Without parameters it is the poster, as long as the pipeline makes one; with a size and no " +
			"time, the poster in that size. Otherwise it is the frame that is shown at `time`, from the smallest " +
			"rendition that is large enough: upright, with square pixels and SDR colours. It is made when it is " +
			"first asked for, which takes about a second, and is kept for a day; of one video the server keeps the " +
			"newest " + strconv.Itoa(keptStills) + ", or " + strconv.Itoa(keptStillBytes>>20) + " MiB.",
		Parameters: []*huma.Param{
			idParam(),
			{
				Name: "format", In: "path", Required: true, Description: "The format of the image",
				Schema: &huma.Schema{
					Type: huma.TypeString, Enum: []any{string(pipeline.StillJPEG), string(pipeline.StillWebP)},
				},
			},
			{
				Name: "time", In: "query", Example: 12.5,
				Description: "Seconds from the start of the video, at most its length",
				Schema:      &huma.Schema{Type: huma.TypeNumber, Minimum: new(float64)},
			},
			side("width"), side("height"),
			{
				Name: "fit", In: "query", Schema: &huma.Schema{
					Type: huma.TypeString, Enum: anyOf(fitNames()), Default: string(pipeline.FitPreserve),
				},
				Description: "How the frame fills width and height. `preserve`: as large as fits, never enlarged. " +
					"`stretch`: distorted. `crop`: filled, with edges cut off. `pad`: whole, between black bars. With one " +
					"side alone, the other follows.",
			},
			viewerToken(),
			{Name: "If-None-Match", In: "header", Schema: text("")},
		},
		Responses: map[string]*huma.Response{
			"200": {Description: "The image", Content: media},
			"206": {Description: "A part of it", Content: media},
			"304": {Description: "It has not changed"},
		},
	}
}

// side describes a side of a thumbnail.
func side(name string) *huma.Param {
	least, most := float64(minStillSide), float64(maxStillSide)
	return &huma.Param{
		Name: name, In: "query", Description: "Pixels", Example: 320,
		Schema: &huma.Schema{Type: huma.TypeInteger, Minimum: &least, Maximum: &most},
	}
}

func anyOf(names []string) (all []any) {
	for _, n := range names {
		all = append(all, n)
	}
	return all
}
