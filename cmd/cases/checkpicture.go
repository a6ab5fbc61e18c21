package main

import (
	"fmt"
	"math"
)

// eachRung calls fn with the frame of each rung at a time.
func (j *judge) eachRung(when float64, fn func(name string, f frame) error) error {
	for i, r := range j.master.rungs {
		f, err := look(j.ctx, r.url, j.tracks[i], j.tracks[i].start()+when)
		if err != nil {
			return err
		}
		if err := fn(r.String(), f); err != nil {
			return err
		}
	}
	return nil
}

// notTheCover wants pictures that are not red, and audio.
func notTheCover(j *judge) error {
	err := j.eachRung(2, func(name string, f frame) error {
		r, g, b := f.matrix.rgb(f.mean(wholeFrame))
		j.holds("colour of "+name, fmt.Sprintf("(%.0f, %.0f, %.0f)", r, g, b), "not red", g > 40 || b > 40)
		return nil
	})
	if err != nil {
		return err
	}
	l, err := j.lightness()
	if err != nil {
		return err
	}
	j.above("deviation of the poster", l.deviation, 10)
	return one440(j)
}

// colour wants a colour in the middle of every rung, with R, G and B within slack.
func colour(red, green, blue, slack float64) func(*judge) error {
	return func(j *judge) error {
		return j.eachRung(1, func(name string, f frame) error {
			r, g, b := f.matrix.rgb(f.mean(around(0.5, 0.5, 0.2)))
			off := max(math.Abs(min(255, r)-red), math.Abs(min(255, g)-green), math.Abs(min(255, b)-blue))
			j.holds("colour of "+name, fmt.Sprintf("(%.1f, %.1f, %.1f)", r, g, b),
				fmt.Sprintf("(%g, %g, %g) ±%g", red, green, blue, slack), off <= slack)
			return nil
		})
	}
}

// ramp judges r14.
func ramp(j *judge) error {
	err := j.eachRung(1.5, func(name string, f frame) error {
		at := func(x float64) float64 {
			y, _, _ := f.mean(region{x - 0.002, 0.2, x + 0.002, 0.8})
			return (y - 16) / 219 * 255
		}
		j.below("black of "+name, at(0.002), 12)
		j.above("white of "+name, at(0.998), 243)
		j.near("middle of "+name, at(0.5), 127, 8)
		return nil
	})
	if err != nil {
		return err
	}
	return one440(j)
}

// notBlack judges r22.
func notBlack(j *judge) error {
	l, err := j.lightness()
	if err != nil {
		return err
	}
	j.above("mean luma of the poster", l.mean, 25)
	j.above("deviation of the poster", l.deviation, 10)
	return nil
}

// shapes wants 150 frames at 25 frames/s, with one aspect and from 3 s on another. A picture with another
// aspect than the frame must have bars.
func shapes(first, second float64) func(*judge) error {
	return func(j *judge) error {
		for i, n := range j.frames {
			j.holds("frames of "+j.master.rungs[i].String(), fmt.Sprint(n), "150 ±2", n >= 148 && n <= 152)
		}
		for when, want := range map[float64]float64{1.5: first, 4.5: second} {
			err := j.eachRung(when, func(name string, f frame) error {
				shown := f.content()
				aspect := (shown.right - shown.left) * float64(f.width) / ((shown.bottom - shown.top) * float64(f.height))
				j.near(fmt.Sprintf("aspect of what %s shows at %g s", name, when), aspect, want, 0.04*want)
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	}
}

// content is the part of a picture between black bars.
func (f frame) content() region {
	const black = 24
	w, h := float64(f.width), float64(f.height)
	dark := func(r region) bool { return meanOf(f.y, f.width, f.height, r) < black }
	column := func(x int) bool { return dark(region{float64(x) / w, 0, (float64(x) + 0.9) / w, 1}) }
	row := func(y int) bool { return dark(region{0, float64(y) / h, 1, (float64(y) + 0.9) / h}) }
	left, right, top, bottom := 0, f.width, 0, f.height
	for left < right && column(left) {
		left++
	}
	for right > left && column(right-1) {
		right--
	}
	for top < bottom && row(top) {
		top++
	}
	for bottom > top && row(bottom-1) {
		bottom--
	}
	return region{float64(left) / w, float64(top) / h, float64(right) / w, float64(bottom) / h}
}

// converted wants the exact conversion of every flat part's colour from the matrix of the source to BT.709,
// in every rung. It reads a rung with another tagged matrix, such as a copy, as a player does.
func converted(from matrix) func(*judge) error {
	return func(j *judge) error {
		return j.compareFlat(func(y, u, v float64) (float64, float64, float64) {
			return bt709.yuv(from.rgb(y, u, v))
		})
	}
}

// compareFlat compares the flat parts of the source at 2 s with those of each rung.
func (j *judge) compareFlat(convert func(y, u, v float64) (float64, float64, float64)) error {
	t, err := probe(j.ctx, j.source, picture)
	if err != nil {
		return err
	}
	source, err := look(j.ctx, j.source, t, t.start()+2)
	if err != nil {
		return err
	}
	return j.eachRung(2, func(name string, f frame) error {
		worst, parts, at := 0.0, 0, ""
		for row := 0.05; row < 0.96; row += 0.05 {
			for column := 0.02; column < 0.98; column += 0.02 {
				if source.spread(around(column, row, 0.02)) > 1 {
					continue
				}
				parts++
				here := around(column, row, 0.006)
				wy, wu, wv := source.mean(here)
				if t.full() {
					wy, wu, wv = 16+wy*219/255, 128+(wu-128)*224/255, 128+(wv-128)*224/255
				}
				wy, wu, wv = convert(wy, wu, wv)
				y, u, v := bt709.yuv(f.matrix.rgb(f.mean(here)))
				if off := max(math.Abs(y-wy), math.Abs(u-wu), math.Abs(v-wv)); off > worst {
					worst = off
					at = fmt.Sprintf(" at (%.2f, %.2f): (%.1f, %.1f, %.1f) for (%.1f, %.1f, %.1f)", column, row, y, u, v,
						wy, wu, wv)
				}
			}
		}
		j.above("flat parts compared", float64(parts), 20)
		j.holds("worst colour of "+name, fmt.Sprintf("%.2f off%s", worst, at), "within 1", worst <= 1)
		return nil
	})
}

// grey wants the greys of the source, and no colour.
func grey(j *judge) error {
	err := j.eachRung(2, func(name string, f frame) error {
		off := 0
		for _, plane := range [][]byte{f.u, f.v} {
			for _, s := range plane {
				off = max(off, abs(int(s)-128))
			}
		}
		j.is("U and V off 128 in "+name, off, 0)
		return nil
	})
	if err != nil {
		return err
	}
	return j.compareFlat(func(y, u, v float64) (float64, float64, float64) { return y, u, v })
}
