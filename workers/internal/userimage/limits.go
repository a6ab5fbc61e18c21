package userimage

import (
	"fmt"

	"github.com/reelmill/reelmill/pipeline"
)

// The limits of a picture.
const (
	// MaxBytes is the size of the file.
	MaxBytes = 64 << 20
	// MaxSide is the length of each side, in pixels.
	MaxSide = 8192
	// MaxAspect is how many times as long as the shorter side the longer one may be.
	MaxAspect = 64
	// MaxPixels is the area.
	MaxPixels = 40000000
	// MaxMemory is what the pixels and their decoder may take, in bytes.
	MaxMemory = 256 << 20
	// MaxScans is the number of scans of a JPEG. Each costs the time of a pass over the picture. Baseline has 1
	// to 4; progressive encoders make 10 by default, and fewer than 30 when they search for the smallest file.
	MaxScans = 100
	// MaxChunks is the number of chunks of a PNG or WebP. The usual IDAT of 8 KiB makes 8,192 of a file of
	// MaxBytes; the rest is for smaller ones and for metadata.
	MaxChunks = 16384
)

// Refusal says why a picture is refused. The same picture is refused again.
type Refusal struct {
	Reason string // for people: the value, and the limit
}

// Error implements error.
func (r *Refusal) Error() string { return r.Reason }

func refuse(format string, args ...any) *Refusal { return &Refusal{fmt.Sprintf(format, args...)} }

// Formats returns the formats that are accepted. Sources: ITU-T T.81 (JPEG), RFC 2083 (PNG), RFC 9649 (WebP).
func Formats() []pipeline.Format {
	return []pipeline.Format{
		{Name: "JPEG", Extension: ".jpg", Magic: "\xff\xd8\xff"},
		{Name: "PNG", Extension: ".png", Magic: "\x89PNG\r\n\x1a\n"},
		{Name: "WebP", Extension: ".webp", Magic: "RIFF????WEBP"},
	}
}

// Picture is what the headers of a picture say.
type Picture struct {
	Format        string // the Name of one of Formats
	Width, Height int    // in pixels
	Memory        int64  // bytes that decoding takes at least
}

// check refuses a picture that is outside the limits.
func (p Picture) check() error {
	short, long := min(p.Width, p.Height), max(p.Width, p.Height)
	switch pixels := int64(p.Width) * int64(p.Height); {
	case short < 1:
		return refuse("%dx%d pixels; each side must have at least 1", p.Width, p.Height)
	case long > MaxSide:
		return refuse("%dx%d pixels; each side may have at most %d", p.Width, p.Height, MaxSide)
	case long > MaxAspect*short:
		return refuse("%dx%d pixels; one side may be at most %d times as long as the other",
			p.Width, p.Height, MaxAspect)
	case pixels > MaxPixels:
		return refuse("%dx%d pixels; at most %d million are accepted", p.Width, p.Height, MaxPixels/1000000)
	case p.Memory > MaxMemory:
		return refuse("decoding its %dx%d pixels needs %d MiB of memory; at most %d MiB are allowed",
			p.Width, p.Height, (p.Memory+1<<20-1)>>20, MaxMemory>>20)
	}
	return nil
}
