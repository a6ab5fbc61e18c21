//go:build unix && !linux

package ffmpeg

import "time"

const cpuTick = time.Second / 100

// cpuTicks is unknown on this system, so Stall depends on progress reports alone.
func cpuTicks(int) int64 { return 0 }
