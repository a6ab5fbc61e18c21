//go:build unix && !linux

package ffmpeg

// MemoryIsLimited is unknown on this system. The file is taken to be at fault.
func MemoryIsLimited() bool { return false }
