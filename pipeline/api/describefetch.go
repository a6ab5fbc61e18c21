package api

import (
	"github.com/danielgtaylor/huma/v2"
)

// describeFetch describes the JSON body of POST /v1/videos.
func (s *server) describeFetch() *huma.MediaType {
	fields := s.orderFields()
	delete(fields, "size")
	delete(fields, "method")
	fields["filename"] = text("As the video is called; if left out, as its server calls it")
	fields["url"] = &huma.Schema{
		Type: huma.TypeString, Format: "uri", Description: "An http or https address of the file itself, at most " +
			"8 KiB, without user and fragment. It may be signed: answers show only its scheme and host.",
	}
	return &huma.MediaType{
		Schema: &huma.Schema{
			Type: huma.TypeObject, Required: []string{"url"}, AdditionalProperties: false, Properties: fields,
		},
		Example: map[string]any{"url": "https://files.example.com/cat.mp4", "title": "Cat"},
	}
}
