package storage

import (
	"fmt"
	"strconv"
	"strings"
)

// Limits of keys. With MaxKey bytes, a key and the prefix in a bucket stay below S3's 1,024 bytes;
// maxSegment is the longest file name of the usual file systems.
const (
	MaxKey     = 512 // bytes of a key
	maxSegment = 255 // bytes between two slashes
)

// ValidKey returns nil for a valid key, else an ErrKey that says what is wrong with it. A key is one or
// more segments joined by slashes, at most 512 bytes in all. A segment is 1 to 255 of the characters A-Z
// a-z 0-9 . _ -; it neither begins with a dot nor has two dots in a row. So no key climbs out of a folder,
// is hidden in it, or needs escaping in a URL, a header or a playlist.
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

// ValidPrefix returns an ErrKey if no valid key can begin with prefix. The empty prefix is valid.
func ValidPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	// Try the shortest continuation: one more character. After a slash it is required; elsewhere it only
	// matters at the limits.
	if strings.HasSuffix(prefix, "/") {
		return ValidKey(prefix + "x")
	}
	return ValidKey(prefix)
}

// segmentFault says what is wrong with a segment; "" if nothing is.
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
