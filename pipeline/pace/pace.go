// Package pace says when the other end of a transfer is too slow.
package pace

import "time"

// Pace is a stock of time, full at the beginning. Waiting for bytes uses the time, and each byte adds as much
// as it takes at the minimum rate, up to the full stock. So a bad line may be silent for long after it has
// sent something, and on average must keep the rate; but a burst does not pay for an hour of silence. The
// time in which our own end is busy, such as with a slow store, does not count.
type Pace struct {
	rate float64       // bytes a second
	most time.Duration // a full stock
	left time.Duration
}

// New returns a full stock for a minimum rate in bytes a second, which is above 0.
func New(rate int64, stock time.Duration) Pace {
	return Pace{rate: float64(rate), most: stock, left: stock}
}

// Left returns how long the other end may be silent now.
func (p *Pace) Left() time.Duration { return p.left }

// Spent counts n bytes that took a time to arrive, and reports whether the stock is used up.
func (p *Pace) Spent(waited time.Duration, n int) bool {
	earned := time.Duration(min(float64(n)/p.rate*float64(time.Second), float64(p.most)))
	p.left = min(p.most, p.left-waited+earned)
	return p.left <= 0
}
