package transcode

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/Eyevinn/mp4ff/mp4"

	"github.com/reelmill/reelmill/workers/internal/hls"
	"github.com/reelmill/reelmill/workers/internal/sampletable"
)

// trackID is the id of a rendition's only track.
const trackID = 1

// remux writes groups of pictures to a new file, one fragment for each, after a header. The header is the
// same for all groups of a track, and names matrix as the colour matrix. Each range has the numbers of its
// first group and of the group after its last.
func remux(
	ctx context.Context, name string, pictures *sampletable.Pictures, matrix byte, ranges ...[2]int,
) (err error) {
	head, err := header(pictures, matrix)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	out := bufio.NewWriterSize(file, 1<<20)
	if err := head.Encode(out); err != nil {
		return fmt.Errorf("write header: %w", err)
	}
	for _, r := range ranges {
		number := r[0]
		err := pictures.Each(ctx, r[0], r[1], func(g sampletable.Group) error {
			number++
			f, err := fragment(number, g)
			if err != nil {
				return err
			}
			return f.Encode(out)
		})
		if err != nil {
			return fmt.Errorf("write groups %d to %d: %w", r[0], r[1], err)
		}
	}
	return out.Flush()
}

// header returns the init section. Its colour tags are those of the encoded rungs except for the matrix,
// since copied frames are not converted (colour.go).
func header(p *sampletable.Pictures, matrix byte) (*mp4.InitSegment, error) {
	config, err := tagged(p.Config, matrix)
	if err != nil {
		return nil, unfit("%w", err)
	}
	head := mp4.CreateEmptyInit()
	trak := head.AddEmptyTrack(uint32(p.Timescale), "video", "und")
	trak.Tkhd.Width, trak.Tkhd.Height = mp4.Fixed32(p.Width<<16), mp4.Fixed32(p.Height<<16)
	entry := mp4.CreateVisualSampleEntryBox("avc1", uint16(p.Width), uint16(p.Height), opaque("avcC", config))
	entry.CompressorName = ""
	entry.AddChild(opaque("colr", nclx(matrix)))
	trak.Mdia.Minf.Stbl.Stsd.AddChild(entry)
	hls.Advance(trak, p.Delay)
	return head, nil
}

// opaque returns a box whose content is written as it is.
func opaque(name string, inside []byte) mp4.Box {
	const boxHeader = 8
	return mp4.CreateUnknownBox(name, boxHeader+uint64(len(inside)), inside)
}

// fragment returns a movie fragment of one group (14496-12, 8.8). It shares the group's data.
func fragment(number int, g sampletable.Group) (*mp4.Fragment, error) {
	f, err := mp4.CreateFragment(uint32(number), trackID)
	if err != nil {
		return nil, fmt.Errorf("make fragment: %w", err)
	}
	f.EncOptimize = mp4.OptimizeTrun
	traf := f.Moof.Traf
	traf.Tfdt.SetBaseMediaDecodeTime(uint64(g.Start))
	flags := mp4.SyncSampleFlags
	for _, p := range g.Pictures {
		traf.Trun.AddSample(mp4.NewSample(flags, p.Length, p.Size, p.Shift))
		flags = mp4.NonSyncSampleFlags
	}
	f.Mdat.SetData(g.Data)
	return f, nil
}
