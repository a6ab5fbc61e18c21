package storage

import (
	"fmt"
	"strconv"
	"strings"
)

// Limits of keys. MaxKey leaves room for the prefix of a bucket below S3's 1,024 bytes; maxSegment is
// the longest file name of the usual file systems.
const (
	MaxKey     = 512 // bytes of a key
	maxSegment = 255 // bytes between two slashes
)

// SourceKey is where the uploaded file of a video lies. The name is made by the server ("original.mp4"):
// a user's file name belongs in metadata.
func SourceKey(video, name string) string {
	return VideoPrefix(video) + "source/" + name
}

// OutputPrefix is where one attempt at a job puts its outputs. The token is the attempt's fence: two
// attempts never share a prefix, so the loser's outputs can be deleted whole.
func OutputPrefix(video, job string, token uint64) string {
	return VideoPrefix(video) + job + "/" + strconv.FormatUint(token, 10) + "/"
}

// VideoPrefix is the beginning of every key of a video.
func VideoPrefix(video string) string {
	return "videos/" + video + "/"
}

// ValidKey says, with ErrKey, why key is none. A key is one or more segments with a slash between two,
// at most 512 bytes together. A segment is 1 to 255 of the characters A-Z a-z 0-9 . _ - and neither
// begins with a dot nor has two in a row. So no key climbs out of a folder, hides in it, or needs escaping
// in a URL, a header or a playlist.
func ValidKey(key string) error {
	if len(key) > MaxKey {
		return fmt.Errorf("key of %d bytes, at most %d are allowed: %w", len(key), MaxKey, ErrKey)
	}
	for segment := range strings.SplitSeq(key, "/") {
		if fault := segmentFault(segment); fault != "" {
			return fmt.Errorf("key %.80q: %s: %w", key, fault, ErrKey)
		}
	}
	return nil
}

// ValidPrefix says, with ErrKey, why no valid key can begin with prefix. The empty prefix is valid.
func ValidPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	// The shortest way to go on: one more character, which is wanted after a slash and harms nowhere
	// else but at the limits.
	if strings.HasSuffix(prefix, "/") {
		return ValidKey(prefix + "x")
	}
	return ValidKey(prefix)
}

// segmentFault names what is wrong with a segment, or is "".
func segmentFault(s string) string {
	switch {
	case s == "":
		return "empty segment"
	case len(s) > maxSegment:
		return "segment longer than " + strconv.Itoa(maxSegment) + " bytes"
	case s[0] == '.':
		return "segment begins with a dot"
	case strings.Contains(s, ".."):
		return "two dots in a row"
	}
	for i := range len(s) {
		if !keyByte(s[i]) {
			return fmt.Sprintf("character %q", s[i])
		}
	}
	return ""
}

func keyByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '.' || c == '_' || c == '-'
}
