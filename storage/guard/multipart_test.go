package guard

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/reelmill/reelmill/storage"
)

// failingMultipart is a store whose calls fail until it has had enough of them.
type failingMultipart struct {
	storage.Store
	failing, calls int
}

func (f *failingMultipart) fate() error {
	if f.calls++; f.calls <= f.failing {
		return errMedium
	}
	return nil
}

func (f *failingMultipart) BeginMultipart(_ context.Context, _ string, size int64) (storage.Multipart, error) {
	return storage.Multipart{Size: size, PartSize: 5}, f.fate()
}

func (f *failingMultipart) PresignParts(
	_ context.Context, _ string, numbers []int, _ time.Duration,
) ([]storage.PresignedPart, error) {
	return []storage.PresignedPart{{Number: numbers[0]}}, f.fate()
}

func (f *failingMultipart) ArrivedParts(context.Context, string) (storage.Multipart, []int, error) {
	return storage.Multipart{Size: 9, PartSize: 5}, []int{1, 2}, f.fate()
}

func (f *failingMultipart) CompleteMultipart(_ context.Context, key string) (storage.Info, error) {
	return storage.Info{Key: key}, f.fate()
}

func (f *failingMultipart) AbortMultipart(context.Context, string) error { return f.fate() }

// TestMultipartRetries checks that all calls are retried, and that their results come through.
func TestMultipartRetries(t *testing.T) {
	ctx := context.Background()
	for name, call := range map[string]func(s storage.MultipartPresigner) (bool, error){
		"begin": func(s storage.MultipartPresigner) (bool, error) {
			m, err := s.BeginMultipart(ctx, "k", 9)
			return m == storage.Multipart{Size: 9, PartSize: 5}, err
		},
		"presign": func(s storage.MultipartPresigner) (bool, error) {
			parts, err := s.PresignParts(ctx, "k", []int{7}, time.Hour)
			return len(parts) == 1 && parts[0].Number == 7, err
		},
		"arrived": func(s storage.MultipartPresigner) (bool, error) {
			m, numbers, err := s.ArrivedParts(ctx, "k")
			return m.Parts() == 2 && slices.Equal(numbers, []int{1, 2}), err
		},
		"complete": func(s storage.MultipartPresigner) (bool, error) {
			info, err := s.CompleteMultipart(ctx, "k")
			return info.Key == "k", err
		},
		"abort": func(s storage.MultipartPresigner) (bool, error) { return true, s.AbortMultipart(ctx, "k") },
	} {
		f := &failingMultipart{failing: 2}
		g := mustNew(t, f, Config{FirstDelay: 1})
		s, ok := storage.As[storage.MultipartPresigner](g.Store())
		if !ok {
			t.Fatal("the guarded store has no multipart uploads")
		}
		good, err := call(s)
		if err != nil || !good || f.calls != 3 || g.Failures() != 2 {
			t.Errorf("%s: %v, %v after %d calls", name, good, err, f.calls)
		}
	}
}
