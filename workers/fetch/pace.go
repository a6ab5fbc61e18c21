package fetch

import "time"

// pace says when a server is too slow. It has a stock of time, full at the beginning. Waiting uses the time,
// and each byte adds as much as it takes at the minimum rate, up to the full stock. So a server may be silent
// for a while after it has sent something, and on average must keep the rate.
type pace struct {
	rate float64       // bytes a second
	most time.Duration // a full stock
	left time.Duration
}

// spent counts n bytes after a wait, and reports whether the stock is used up.
func (p *pace) spent(waited time.Duration, n int) bool {
	earned := time.Duration(min(float64(n)/p.rate*float64(time.Second), float64(p.most)))
	p.left = min(p.most, p.left-waited+earned)
	return p.left <= 0
}
