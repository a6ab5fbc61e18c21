package pipeline

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"time"
)

// crockford is Douglas Crockford's base 32, in lower case, which ULIDs use (https://github.com/ulid/spec).
var crockford = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// NewID returns prefix, an underscore and a new ULID: 48 bits of Unix milliseconds and 80 random bits, in 26
// characters of Crockford's base 32. So rows that are written one after the other are neighbours in an index.
// Nothing may depend on the order of ids of videos and outputs: DerivedID makes some or all of them. Prefixes
// are vid, evt, upl, req and so on.
func NewID(prefix string) string {
	var entropy [10]byte
	rand.Read(entropy[:]) // never fails: crypto/rand.Read ends the program instead
	return idFrom(prefix, time.Now(), entropy)
}

// DerivedID returns an id that looks like one of NewID but is not a ULID: all of it is hash, so it holds no
// time and does not sort by time. The same sum gives the same id. So a request that is repeated with the same
// idempotency key names the same thing on any machine, also after a crash, without a table of keys.
func DerivedID(prefix string, sum [32]byte) string {
	ms := int64(binary.BigEndian.Uint64(sum[16:24]) >> 17) // 47 bits, in the place of a time
	return idFrom(prefix, time.UnixMilli(ms), [10]byte(sum[:10]))
}

// idFrom encodes 48 bits of time and 80 bits of entropy. The 26 characters of a ULID have room for 130 bits,
// two more than it needs: the first two are zeros.
func idFrom(prefix string, t time.Time, entropy [10]byte) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(t.UnixMilli())<<16)
	copy(b[6:], entropy[:])
	var raw [17]byte // b, two bits to the right
	for i, v := range b {
		raw[i] |= v >> 2
		raw[i+1] = v << 6
	}
	return prefix + "_" + crockford.EncodeToString(raw[:])[:26]
}

// ValidName reports whether s may be used as one token of a subject, an object key and a URL: 1 to 64
// characters of A-Z, a-z, 0-9, underscore and hyphen.
func ValidName(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}
