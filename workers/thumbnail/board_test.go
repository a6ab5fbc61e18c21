package thumbnail

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/reelmill/reelmill/workers/workertest"
)

// TestBoardOfAnyVideo checks what a player relies on, whatever the size and the length of the video: every
// tile is on the sheet, no two share a place, a JPEG can hold the sheet, and the tiles follow each other from
// the beginning to before the end.
func TestBoardOfAnyVideo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, h := rapid.IntRange(0, 16384).Draw(t, "width"), rapid.IntRange(0, 16384).Draw(t, "height")
		seconds := math.Exp(rapid.Float64Range(-9, 14).Draw(t, "logarithm of the seconds")) // to two weeks
		b := newBoard(workertest.Media(w, h, 25, seconds))
		sheet := b.size()
		if n := len(b.Tiles); n < 1 || n > maxCells || b.Columns < 1 || b.Columns > columns {
			t.Fatalf("%d tiles in %d columns", n, b.Columns)
		}
		if sheet.Width > 65535 || sheet.Height > 65535 || b.TileWidth < 2 || b.TileHeight < 2 {
			t.Errorf("a sheet of %v with tiles of %dx%d", sheet, b.TileWidth, b.TileHeight)
		}
		if b.Interval < minInterval || b.Tiles[0].Start != 0 {
			t.Errorf("the first at %v, then every %v s", b.Tiles[0].Start, b.Interval)
		}
		places := map[[2]int]bool{}
		for i, c := range b.Tiles {
			if c.X%b.TileWidth != 0 || c.Y%b.TileHeight != 0 || c.X+b.TileWidth > sheet.Width || c.Y+b.TileHeight > sheet.Height {
				t.Errorf("tile %d at %d,%d of %v", i, c.X, c.Y, sheet)
			}
			if i > 0 && (c.Start <= b.Tiles[i-1].Start || c.Start >= seconds) {
				t.Errorf("tile %d begins at %v of %v s, after %v", i, c.Start, seconds, b.Tiles[i-1].Start)
			}
			places[[2]int{c.X, c.Y}] = true
		}
		if len(places) != len(b.Tiles) {
			t.Errorf("%d tiles have %d places", len(b.Tiles), len(places))
		}
	})
}
