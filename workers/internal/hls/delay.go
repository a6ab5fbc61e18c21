package hls

import (
	"errors"
	"fmt"
	"math"

	"github.com/Eyevinn/mp4ff/mp4"
)

// Advance gives a track an edit list (14496-12, 8.6.6) that shows everything ticks earlier than its
// composition times say. So the composition offsets of reordered pictures can be positive, which all
// players read the same way; some shift a track by its negative offsets. 0 does nothing. This is the form
// of CMAF's brand cmfc (23000-19, 7.5.13).
func Advance(trak *mp4.TrakBox, ticks int64) {
	if ticks == 0 {
		return
	}
	edit := &mp4.EdtsBox{}
	edit.AddChild(&mp4.ElstBox{Version: 1, Entries: []mp4.ElstEntry{{MediaTime: ticks, MediaRateInteger: 1}}})
	children := trak.Children
	trak.Children = nil
	for _, c := range children {
		trak.AddChild(c)
		if c.Type() == "tkhd" {
			trak.AddChild(edit)
		}
	}
}

// delay adds ticks to the composition offsets of a fragment and returns the new box. It fails if an offset
// is still negative. The data that the box refers to must follow it as before.
func delay(moof *mp4.MoofBox, ticks int64) ([]byte, error) {
	if len(moof.Traf.Truns) != 1 {
		return nil, fmt.Errorf("%d runs of samples, want one", len(moof.Traf.Truns))
	}
	run, before := moof.Traf.Trun, int64(moof.Size())
	for i := range run.Samples {
		offset := int64(run.Samples[i].CompositionTimeOffset) + ticks
		if offset < 0 || offset > math.MaxInt32 {
			return nil, fmt.Errorf("sample %d is shown %d ticks before it is decoded", i, -offset)
		}
		run.Samples[i].CompositionTimeOffset = int32(offset)
	}
	run.Flags |= mp4.TrunSampleCompositionTimeOffsetPresentFlag
	if !run.HasDataOffset() {
		return nil, errors.New("the run does not say where its samples are")
	}
	run.DataOffset += int32(int64(moof.Size()) - before)
	return encode(moof)
}
