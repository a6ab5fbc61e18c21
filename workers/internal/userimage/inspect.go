package userimage

import (
	"bufio"
	"errors"
	"io"
)

// window is how many bytes Inspect holds at a time.
const window = 32 << 10

// Inspect reads a picture to the end of its structure, and returns what its headers say. Its error is a
// *Refusal if the picture is at fault, else that of r. It needs memory of a fixed size.
func Inspect(r io.Reader) (Picture, error) {
	s := source{bufio.NewReaderSize(r, window)}
	head, err := s.r.Peek(12) // the longest magic
	if err != nil && err != io.EOF {
		return Picture{}, err
	}
	for _, f := range Formats() {
		if !f.Matches("", head) {
			continue
		}
		p, err := walks()[f.Name](s)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = refuse("damaged: the file ends too early")
		}
		p.Format = f.Name
		return p, err
	}
	return Picture{}, refuse("neither JPEG, PNG nor WebP")
}

// walks returns the function that walks each format.
func walks() map[string]func(source) (Picture, error) {
	return map[string]func(source) (Picture, error){"JPEG": walkJPEG, "PNG": walkPNG, "WebP": walkWebP}
}

// source is the rest of a file.
type source struct{ r *bufio.Reader }

// read fills p.
func (s source) read(p []byte) error {
	_, err := io.ReadFull(s.r, p)
	return err
}

// skip passes over n bytes.
func (s source) skip(n int64) error {
	_, err := io.CopyN(io.Discard, s.r, n)
	return err
}
