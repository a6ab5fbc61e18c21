package inspect

import (
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// share counts packets with a payload, and those marked as scrambled.
type share struct{ all, hidden int }

// scrambling counts the packets of a transport stream by PID. Source: ISO/IEC 13818-1, 2.4.3.2.
func scrambling(head []byte) map[int64]share {
	const sync = 0x47
	for _, stride := range []int{188, 192, 204} {
		for first := range min(stride, max(0, len(head)-2*stride)) {
			if head[first] != sync || head[first+stride] != sync || head[first+2*stride] != sync {
				continue
			}
			pids := map[int64]share{}
			for at := first; at+4 <= len(head) && head[at] == sync; at += stride {
				pid := int64(head[at+1]&0x1f)<<8 | int64(head[at+2])
				pids[pid] = pids[pid].add(head[at+3]&0x10 != 0, head[at+3]&0xc0 != 0)
			}
			return pids
		}
	}
	return nil
}

func (s share) add(payload, hidden bool) share {
	if payload {
		s.all++
	}
	if payload && hidden {
		s.hidden++
	}
	return s
}

// most reports whether more than half of all packets are scrambled.
func most(pids map[int64]share) bool {
	sum := share{}
	for _, s := range pids {
		sum.all, sum.hidden = sum.all+s.all, sum.hidden+s.hidden
	}
	return 2*sum.hidden > sum.all
}

// scrambledTrack refuses a transport stream in which the video track or an audio track is scrambled.
func scrambledTrack(r ffmpeg.ProbeResult, picture ffmpeg.Stream, head []byte) error {
	pids := scrambling(head)
	for _, s := range append(r.Audios(), picture) {
		if p := pids[s.ID]; 2*p.hidden > p.all {
			return pipeline.Fail(pipeline.CodeEncrypted, "%s is scrambled", named(s))
		}
	}
	return nil
}

// scrambledProgram reports whether at least one in twenty video and audio packets of a program stream is
// marked as scrambled; on a DVD not all packets are. Source: ISO/IEC 13818-1, 2.4.3.6.
func scrambledProgram(head []byte) bool {
	s := share{}
	for at := 0; at+7 <= len(head); at++ {
		if head[at] != 0 || head[at+1] != 0 || head[at+2] != 1 {
			continue
		}
		id, flags := head[at+3], head[at+6]
		played := id == 0xbd || id >= 0xc0 && id <= 0xef
		s = s.add(played && flags&0xc0 == 0x80, flags&0x30 != 0)
	}
	return s.hidden > 0 && 20*s.hidden >= s.all
}
