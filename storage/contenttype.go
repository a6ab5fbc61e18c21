package storage

import (
	"path"
	"strings"
)

// Unknown is the content type of a key whose extension is not in the table. Browsers download such an
// object and, with nosniff, never render it.
const Unknown = "application/octet-stream"

// contentTypes is the only table, so that an answer never depends on the machine's mime.types. Sources: RFC
// 8216 (m3u8, ts), ISO/IEC 23009-1 annex C (mpd), RFC 4337 (mp4 family), W3C WebVTT, RFC 9649 (webp), and
// IANA's registry for the rest. SVG, XML and HTML are missing on purpose: served from the site's origin
// they can run scripts.
var contentTypes = map[string]string{
	".aac":   "audio/aac",
	".avi":   "video/x-msvideo",
	".avif":  "image/avif",
	".bmp":   "image/bmp",
	".flac":  "audio/flac",
	".flv":   "video/x-flv",
	".gif":   "image/gif",
	".gz":    "application/gzip",
	".jpeg":  "image/jpeg",
	".jpg":   "image/jpeg",
	".json":  "application/json",
	".jsonl": "application/jsonl",
	".m2ts":  "video/mp2t",
	".m3u8":  "application/vnd.apple.mpegurl",
	".m4a":   "audio/mp4",
	".m4s":   "video/iso.segment",
	".m4v":   "video/mp4",
	".mka":   "audio/matroska",
	".mkv":   "video/matroska",
	".mov":   "video/quicktime",
	".mp3":   "audio/mpeg",
	".mp4":   "video/mp4",
	".mpd":   "application/dash+xml",
	".mpeg":  "video/mpeg",
	".mpg":   "video/mpeg",
	".mxf":   "application/mxf",
	".oga":   "audio/ogg",
	".ogg":   "audio/ogg",
	".ogv":   "video/ogg",
	".opus":  "audio/ogg",
	".png":   "image/png",
	".srt":   "application/x-subrip",
	".ts":    "video/mp2t",
	".txt":   "text/plain; charset=utf-8",
	".vtt":   "text/vtt; charset=utf-8",
	".wav":   "audio/wav",
	".weba":  "audio/webm",
	".webm":  "video/webm",
	".webp":  "image/webp",
	".wmv":   "video/x-ms-wmv",
	".zip":   "application/zip",
}

// ContentType returns the media type of the object under key, by its extension alone, ignoring case. It
// returns Unknown for an extension that is not in the table.
func ContentType(key string) string {
	if t, ok := contentTypes[strings.ToLower(path.Ext(key))]; ok {
		return t
	}
	return Unknown
}
