package audiotrack

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/Eyevinn/mp4ff/mp4"
)

// maxPiece is the most bytes that are read into memory at once; a decoded frame is far smaller.
const maxPiece = 64 << 20

// eachPiece calls f for the samples of each frame in ffmpeg's fragmented movie of one track, in order, with
// their time in samples. f must not keep data. Source of the boxes: ISO/IEC 14496-12, 8.8.
func eachPiece(in io.Reader, f func(at int64, data []byte) error) error {
	r := bufio.NewReaderSize(in, 64<<10)
	var data []byte
	at, known := int64(0), false
	for {
		h, err := mp4.DecodeHeader(r)
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read decoded audio: %w", err)
		}
		size := int64(h.Size) - int64(h.Hdrlen)
		if size < 0 || size > maxPiece {
			return fmt.Errorf("read decoded audio: box %q has %d bytes", h.Name, h.Size)
		}
		if int64(cap(data)) < size {
			data = make([]byte, size)
		}
		data = data[:size]
		if _, err := io.ReadFull(r, data); err != nil {
			return fmt.Errorf("read decoded audio: %w", err)
		}
		switch h.Name {
		case "moof":
			if at, err = fragmentTime(h, data); err != nil {
				return fmt.Errorf("read decoded audio: %w", err)
			}
			known = true
		case "mdat":
			if !known {
				return errors.New("read decoded audio: samples without a time")
			}
			if err := f(at, data); err != nil {
				return err
			}
			known = false
		}
	}
}

// fragmentTime returns the decode time of a moof with that body.
func fragmentTime(h mp4.BoxHeader, body []byte) (int64, error) {
	box, err := mp4.DecodeMoof(h, 0, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	moof, ok := box.(*mp4.MoofBox)
	if !ok || len(moof.Trafs) != 1 || moof.Traf.Tfdt == nil {
		return 0, errors.New("not a fragment of one track")
	}
	return int64(moof.Traf.Tfdt.BaseMediaDecodeTime()), nil
}
