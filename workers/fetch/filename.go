package fetch

import (
	"mime"
	"net/url"

	"github.com/reelmill/reelmill/pipeline"
)

// filename returns the clean name of the source: the user's, that of Content-Disposition (RFC 6266), or the
// last part of the URL's path.
func (d *download) filename() string {
	if d.from.Filename != "" {
		return pipeline.CleanFilename(d.from.Filename)
	}
	if _, params, err := mime.ParseMediaType(d.disposition); err == nil && params["filename"] != "" {
		return pipeline.CleanFilename(params["filename"])
	}
	if u, err := url.Parse(d.from.URL); err == nil {
		return pipeline.CleanFilename(u.Path)
	}
	return pipeline.CleanFilename("")
}
