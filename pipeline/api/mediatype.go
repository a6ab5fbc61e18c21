package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/reelmill/reelmill/storage"
)

// mediaHead is how many bytes of a file mediaOf looks at.
const mediaHead = 4 << 10

// mediaOf returns the media type of a file by its first bytes; empty if they do not tell. Whether it is a
// video that can be encoded the inspection finds out; this is for what a token allows.
func mediaOf(head []byte) string {
	has := func(at int, magic string) bool {
		return len(head) >= at+len(magic) && string(head[at:at+len(magic)]) == magic
	}
	switch {
	case has(4, "ftyp") && len(head) >= 12:
		return brandType(string(head[8:12]))
	case has(0, "\x1a\x45\xdf\xa3") && bytes.Contains(head, []byte("webm")):
		return "video/webm"
	case has(0, "\x1a\x45\xdf\xa3"):
		return "video/matroska"
	case has(0, "RIFF") && has(8, "AVI "):
		return "video/x-msvideo"
	case has(0, "FLV\x01"):
		return "video/x-flv"
	case has(0, "\x30\x26\xb2\x75\x8e\x66\xcf\x11"):
		return "video/x-ms-wmv"
	case has(0, "\x00\x00\x01\xba"):
		return "video/mpeg"
	case has(0, "\x47") && has(188, "\x47") && has(376, "\x47"):
		return "video/mp2t"
	case has(0, "\x06\x0e\x2b\x34"):
		return "application/mxf"
	case has(0, "OggS"): // audio or video
		return ""
	}
	if found := typeOf(http.DetectContentType(head)); found != storage.Unknown {
		return found
	}
	return ""
}

// brandType returns the media type for the major brand of ISO media files (ISO/IEC 14496-12, 4.3).
func brandType(brand string) string {
	switch {
	case brand == "qt  ":
		return "video/quicktime"
	case brand == "M4A " || brand == "M4B ":
		return "audio/mp4"
	case brand == "avif" || brand == "heic" || brand == "mif1":
		return "image/" + strings.Replace(brand, "mif1", "heif", 1)
	case strings.HasPrefix(brand, "3gp"):
		return "video/3gpp"
	case strings.HasPrefix(brand, "3g2"):
		return "video/3gpp2"
	}
	return "video/mp4"
}

// typeOf returns a media type as the table of package storage writes it: in lower case, without parameters,
// and by its registered name.
func typeOf(media string) string {
	media, _, _ = strings.Cut(strings.ToLower(media), ";")
	media = strings.TrimSpace(media)
	switch media {
	case "video/x-matroska":
		return "video/matroska"
	case "video/avi", "video/msvideo":
		return "video/x-msvideo"
	case "video/x-m4v":
		return "video/mp4"
	case "audio/x-m4a":
		return "audio/mp4"
	case "audio/wave", "audio/x-wav":
		return "audio/wav"
	case "audio/mp3":
		return "audio/mpeg"
	}
	return media
}

// allows reports whether a media type, as typeOf returns it, is one of a list, or of a family in it such as
// video/*. An empty list allows all.
func allows(list []string, media string) bool {
	family, _, _ := strings.Cut(media, "/")
	return len(list) == 0 || slices.ContainsFunc(list, func(allowed string) bool {
		return typeOf(allowed) == media || allowed == family+"/*"
	})
}

// declaredTypes returns the media types that an order says that its file has: by its name, and as tus clients
// do. A name without a known ending says nothing.
func declaredTypes(o uploadOrder) (all []string) {
	if byName := typeOf(storage.ContentType(o.filename)); byName != storage.Unknown {
		all = append(all, byName)
	}
	for _, key := range []string{"filetype", "type"} { // of tus-js-client and uppy
		if o.tus[key] != "" {
			all = append(all, typeOf(o.tus[key]))
		}
	}
	return all
}

// checkBytes refuses a file that is not of the types that the token of its upload allows. What its first
// bytes do not tell must be allowed by its name.
func (s *server) checkBytes(ctx context.Context, d uploadDoc) error {
	if len(d.Types) == 0 {
		return nil
	}
	r, _, err := s.cfg.Store.Get(ctx, d.Key, storage.Range{})
	if err != nil {
		return ofStore(err)
	}
	head, err := io.ReadAll(io.LimitReader(r, mediaHead))
	if err = errors.Join(err, r.Close()); err != nil {
		return ofStore(err)
	}
	media := mediaOf(head)
	if media == "" {
		media = typeOf(storage.ContentType(d.Filename))
	}
	if allows(d.Types, media) {
		return nil
	}
	return s.intakeOf(d).typeRefused(d.Types, media)
}
