package inspect

import (
	"bytes"
	"math"
	"reflect"
	"strings"
	"testing"
)

// FuzzPackets: the list of packets is read the same however the pipe cuts it; sums are not negative, and times are
// finite.
func FuzzPackets(f *testing.F) {
	f.Add("#tb 0: 1/25\n0, 0, 0, 1, 500, 0x1\n0, 1, 1, 1, 20, 0x2\n1, 0, 0, 1, 1, 0x3\n", 17)
	f.Add("#tb 0: 1/1\n0, -9223372036854775808, 9223372036854775807, 1, 2147483647, 0x1\n0,9223372036854775807,-1,0,1,2\n", 40)
	f.Add("#tb 1: -9223372036854775808/1\n1, 1, 1, 1, 1, 0x00000000\n0,,,,,\n\r\n#\n", 3)
	f.Fuzz(func(t *testing.T, text string, cut int) {
		for line := range strings.Lines(text) {
			if len(line) > 4000 {
				return // none of this format; where it is dropped depends on the pipe
			}
		}
		whole := readPackets(t, text)
		at := int(uint(cut) % uint(len(text)+1))
		if parts := readPackets(t, text[:at], text[at:]); !reflect.DeepEqual(whole, parts) {
			t.Fatalf("%q cut at %d: %+v and %+v", text, at, whole, parts)
		}
		for _, one := range whole {
			one.settle()
			if one.packets < 0 || one.size < 0 || one.unlike > one.packets || one.untimed > one.packets ||
				math.IsNaN(one.last) || math.IsInf(one.last, 0) || math.IsNaN(one.later) || len(one.times) > int(one.packets) {
				t.Fatalf("%q: %+v", text, one)
			}
		}
	})
}

func readPackets(t *testing.T, parts ...string) []track {
	t.Helper()
	l := packetList{tracks: []track{{}, {coded: true}}, enough: func() {}}
	for _, part := range parts {
		if n, err := l.Write([]byte(part)); err != nil || n != len(part) {
			t.Fatal(n, err)
		}
	}
	return l.tracks
}

// FuzzScrambling: no more packets are scrambled than there are, and there are no more than fit.
func FuzzScrambling(f *testing.F) {
	packet := append([]byte{0x47, 0x41, 0x00, 0xd0}, make([]byte, 184)...)
	f.Add(bytes.Repeat(packet, 4))
	f.Add(bytes.Repeat(append(packet, 0, 0, 0, 0), 4))
	f.Add(bytes.Repeat([]byte{0x47}, 409))
	f.Add([]byte{0, 0, 1, 0xe0, 0, 0, 0xb0, 0, 0, 1, 0xbd})
	f.Fuzz(func(t *testing.T, head []byte) {
		all := 0
		for pid, s := range scrambling(head) {
			if all += s.all; pid < 0 || pid > 0x1fff || s.hidden < 0 || s.hidden > s.all {
				t.Fatalf("%d: %+v", pid, s)
			}
		}
		if all > len(head)/188+1 {
			t.Fatalf("%d packets in %d bytes", all, len(head))
		}
		if scrambledProgram(head) && !bytes.Contains(head, []byte{0, 0, 1}) {
			t.Fatal("a scrambled packet without a start code")
		}
	})
}

// TestPacketsOutOfRange: a packet larger than any is no packet, a clock that runs backwards is none, and times at
// the limits do not wrap.
func TestPacketsOutOfRange(t *testing.T) {
	tracks := readPackets(t, "#tb 0: 1/1\n0, 0, 0, 1, 9223372036854775807, 0x1\n0, 0, 0, 1, 9223372036854775807, 0x2\n")
	if tracks[0].packets != 0 || tracks[0].size != 0 {
		t.Errorf("two packets of 8 EiB: %+v", tracks[0])
	}
	tracks = readPackets(t, "#tb 0: -1/1\n0, 5, 5, 1, 1, 0x1\n")
	if tracks[0].tick != 0 {
		t.Errorf("a clock that runs backwards: %+v", tracks[0])
	}
	tracks = readPackets(t, "#tb 0: 1/1\n0, -9223372036854775807, 9223372036854775807, 1, 1, 0x1\n")
	if tracks[0].later < 1e19*1.8 {
		t.Errorf("a picture shown as late as can be: %+v", tracks[0])
	}
}
