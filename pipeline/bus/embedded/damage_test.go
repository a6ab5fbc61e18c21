package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// filled makes a folder with a stream S of ten messages s.1 to s.10, and returns its file.
func filled(t *testing.T, dir string) (file string) {
	t.Helper()
	s := start(t, dir)
	js := streamS(t, s)
	for n := range 10 {
		if _, err := js.Publish(t.Context(), fmt.Sprint("s.", n+1), bytes.Repeat([]byte{'x'}, 500)); err != nil {
			t.Fatal(err)
		}
	}
	s.Shutdown()
	return filepath.Join(dir, "jetstream/$G/streams/S/msgs/1.blk")
}

// streamS makes the stream S, or finds it.
func streamS(t *testing.T, s *Server) jetstream.JetStream {
	t.Helper()
	nc, err := s.Conn()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	config := jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}}
	if _, err := js.CreateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	return js
}

// numbers returns which messages the stream S has.
func numbers(t *testing.T, s *Server) (has []uint64) {
	t.Helper()
	stream, err := streamS(t, s).Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	for n := range stream.CachedInfo().State.LastSeq {
		if m, err := stream.GetMsg(t.Context(), n+1); err == nil && m.Subject == fmt.Sprint("s.", n+1) {
			has = append(has, n+1)
		}
	}
	return has
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func write(t *testing.T, file string, raw []byte) {
	t.Helper()
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

// recordLen is the length of each record of filled but the last, whose subject is one byte longer.
const recordLen = recordHead + len("s.1") + 500 + recordSum

// TestDamageIsRefusedAndMended checks that Start refuses a damaged file and changes nothing, and that Mend
// leaves out only the damaged messages. The server alone would cut the file at the first of them.
func TestDamageIsRefusedAndMended(t *testing.T) {
	for name, test := range map[string]struct {
		spoil   func(raw []byte) []byte
		offset  int64
		follow  int
		subject string
		left    string
	}{
		"a flipped bit of the first": {
			func(b []byte) []byte { b[100] ^= 4; return b }, 0, 9, "s.1", "[2 3 4 5 6 7 8 9 10]",
		},
		"a flipped bit in the middle": {
			func(b []byte) []byte { b[4*recordLen+100] ^= 4; return b },
			4 * int64(recordLen), 5, "s.5", "[1 2 3 4 6 7 8 9 10]",
		},
		"two of them": {
			func(b []byte) []byte { b[2*recordLen+100] ^= 4; b[6*recordLen+30] ^= 1; return b },
			2 * int64(recordLen), 6, "s.3", "[1 2 4 5 6 8 9 10]",
		},
		"a flipped bit of a length": {
			func(b []byte) []byte { b[3*recordLen+2] ^= 4; return b },
			3 * int64(recordLen), 6, "s.4", "[1 2 3 5 6 7 8 9 10]",
		},
		"a page of zeros": {
			func(b []byte) []byte { clear(b[recordLen+5 : 3*recordLen-5]); return b },
			int64(recordLen), 7, "", "[1 4 5 6 7 8 9 10]",
		},
		"a flipped bit of the last": {
			func(b []byte) []byte { b[len(b)-100] ^= 4; return b },
			9 * int64(recordLen), 0, "s.10", "[1 2 3 4 5 6 7 8 9]",
		},
		"a flipped bit of the last length": {
			func(b []byte) []byte { b[9*recordLen+1] ^= 64; return b },
			9 * int64(recordLen), 0, "s.10", "[1 2 3 4 5 6 7 8 9]",
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "with [brackets]")
			file := filled(t, dir)
			spoiled := test.spoil(read(t, file))
			write(t, file, spoiled)
			_, err := Start(t.Context(), Config{Dir: dir, Remade: []string{"T"}})
			d, ok := errors.AsType[*DamageError](err)
			if !ok || d.File != file || d.Stream != "S" || d.Offset != test.offset || d.Follow != test.follow ||
				d.Subject != test.subject || !strings.Contains(err.Error(), file+" is damaged at byte") {
				t.Fatalf("%v: %+v", err, d)
			}
			if !bytes.Equal(read(t, file), spoiled) {
				t.Error("the file was changed")
			}
			told, err := Mend(dir, slog.New(slog.DiscardHandler))
			if err != nil || len(told) == 0 {
				t.Fatal(told, err)
			}
			if got := fmt.Sprint(numbers(t, start(t, dir))); got != test.left {
				t.Errorf("left are %s, want %s", got, test.left)
			}
			if !bytes.Equal(read(t, filepath.Join(dir, "damaged/S-1.blk.1")), spoiled) {
				t.Error("the file as it was is not kept")
			}
		})
	}
}

// TestMendChangesNoWholeFile checks that Mend leaves a file as it is in which every record is whole, also after
// removals, which leave records of their own.
func TestMendChangesNoWholeFile(t *testing.T) {
	dir := t.TempDir()
	file := filled(t, dir)
	s := start(t, dir)
	stream, err := streamS(t, s).Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	for _, remove := range []func() error{
		func() error { return stream.DeleteMsg(t.Context(), 3) },
		func() error { return stream.SecureDeleteMsg(t.Context(), 5) },
		func() error { return stream.Purge(t.Context(), jetstream.WithPurgeSubject("s.7")) },
	} {
		if err := remove(); err != nil {
			t.Fatal(err)
		}
	}
	s.Shutdown()
	whole := read(t, file)
	if told, err := Mend(dir, slog.New(slog.DiscardHandler)); err != nil || len(told) != 0 {
		t.Error(told, err)
	}
	if !bytes.Equal(read(t, file), whole) {
		t.Error("the file was changed")
	}
	if got := fmt.Sprint(numbers(t, start(t, dir))); got != "[1 2 4 6 8 9 10]" {
		t.Errorf("left are %s", got)
	}
}

// TestARecordThatBrokeOff checks that Start accepts a file whose last record was never written to its end,
// keeps the file as it was, and warns.
func TestARecordThatBrokeOff(t *testing.T) {
	for name, spoil := range map[string]func(raw []byte) []byte{
		"a byte is missing":  func(b []byte) []byte { return b[:len(b)-1] },
		"most is missing":    func(b []byte) []byte { return b[:9*recordLen+recordHead] },
		"it ends with zeros": func(b []byte) []byte { clear(b[len(b)-300:]); return b },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filled(t, dir)
			spoiled := spoil(read(t, file))
			write(t, file, spoiled)
			var log pipelinetest.Buffer
			s, err := Start(t.Context(), Config{Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Shutdown)
			if got := fmt.Sprint(numbers(t, s)); got != "[1 2 3 4 5 6 7 8 9]" {
				t.Errorf("left are %s", got)
			}
			if !strings.Contains(log.String(), "ends within a message") || !strings.Contains(log.String(), file) {
				t.Errorf("log: %s", &log)
			}
			if !bytes.Equal(read(t, filepath.Join(dir, "damaged/S-1.blk.1")), spoiled) {
				t.Error("the file as it was is not kept")
			}
		})
	}
}

// TestRemadeStreamsAreMended checks that Start leaves damaged messages out of a stream whose messages are made
// again, and warns.
func TestRemadeStreamsAreMended(t *testing.T) {
	dir := t.TempDir()
	file := filled(t, dir)
	raw := read(t, file)
	raw[4*recordLen+100] ^= 1
	write(t, file, raw)
	var log pipelinetest.Buffer
	s, err := Start(t.Context(), Config{
		Dir: dir, Remade: []string{"S"}, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	if got := fmt.Sprint(numbers(t, s)); got != "[1 2 3 4 6 7 8 9 10]" {
		t.Errorf("left are %s", got)
	}
	if !strings.Contains(log.String(), "leave out a damaged message") {
		t.Errorf("log: %s", &log)
	}
}

// TestDamagedConsumersAreMadeAnew checks that damaged settings of a consumer do not stop its stream, nor
// change what it gives out.
func TestDamagedConsumersAreMadeAnew(t *testing.T) {
	for name, change := range map[string][2]string{
		"a name that the server does not know": {`"Created"`, `"Creited"`},
		"another subject":                      {`"filter_subject":"s.2"`, `"filter_subject":"s.3"`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			filled(t, dir)
			want := jetstream.ConsumerConfig{Durable: "c", FilterSubject: "s.2"}
			s := start(t, dir)
			if _, err := streamS(t, s).CreateConsumer(t.Context(), "S", want); err != nil {
				t.Fatal(err)
			}
			s.Shutdown()
			file := filepath.Join(dir, "jetstream/$G/streams/S/obs/c/meta.inf")
			raw := read(t, file)
			changed := bytes.Replace(raw, []byte(change[0]), []byte(change[1]), 1)
			if bytes.Equal(changed, raw) {
				t.Fatalf("%s is not in %s", change[0], raw)
			}
			write(t, file, changed)
			c, err := streamS(t, start(t, dir)).CreateConsumer(t.Context(), "S", want)
			if err != nil {
				t.Fatal(err)
			}
			if c.CachedInfo().NumPending != 1 || c.CachedInfo().Config.FilterSubject != "s.2" {
				t.Errorf("%+v", c.CachedInfo())
			}
		})
	}
}

// TestRefusedFolderIsLeftAlone checks that Start changes nothing in a folder that it refuses, not even settings
// of a consumer that it would otherwise make anew, and that it does not read on when it is told to end.
func TestRefusedFolderIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	file := filled(t, dir)
	s := start(t, dir)
	if _, err := streamS(t, s).CreateConsumer(t.Context(), "S", jetstream.ConsumerConfig{Durable: "c"}); err != nil {
		t.Fatal(err)
	}
	s.Shutdown()
	settings := filepath.Join(dir, "jetstream/$G/streams/S/obs/c/meta.inf")
	damaged := map[string][]byte{}
	for _, name := range []string{file, settings} {
		damaged[name] = read(t, name)
		damaged[name][100] ^= 4
		write(t, name, damaged[name])
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Start(ended, Config{Dir: dir}); !errors.Is(err, context.Canceled) {
		t.Errorf("a canceled start: %v", err)
	}
	_, err := Start(t.Context(), Config{Dir: dir})
	if _, ok := errors.AsType[*DamageError](err); !ok {
		t.Errorf("%v", err)
	}
	for name, want := range damaged {
		if raw, err := os.ReadFile(name); err != nil || !bytes.Equal(raw, want) {
			t.Errorf("%s was changed: %v", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, damagedDir)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s was made: %v", damagedDir, err)
	}
}

func FuzzReadBlock(f *testing.F) {
	f.Add([]byte("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"))
	f.Add(bytes.Repeat([]byte{30, 0, 0, 0}, 20))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := readBlock("S", 1, raw)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.HasPrefix(raw, []byte("cmp")) {
			return
		}
		sum := 0
		for _, s := range append(b.good, b.bad...) {
			if s.from >= s.to {
				t.Errorf("%v", s)
			}
			sum += s.to - s.from
			b.seems(s)
		}
		if sum != len(raw) || len(b.without()) > len(raw) {
			t.Errorf("%d bytes of %d", sum, len(raw))
		}
	})
}
