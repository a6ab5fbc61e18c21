package workers

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage/storagetest"
)

func TestNewLoop(t *testing.T) {
	full := Config{
		Log: struct{ pipeline.Log }{}, Tasks: &ears{}, Store: storagetest.Disk(t, t.TempDir()), Registry: NewRegistry(),
		Scratch: filepath.Join(t.TempDir(), "scratch"),
	}
	if err := os.MkdirAll(filepath.Join(full.Scratch, "left"), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := NewLoop(full)
	if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(full.Scratch); err != nil || len(left) != 0 {
		t.Errorf("scratch holds %v, %v", left, err)
	}
	if l.Heartbeat != 20*time.Second || l.Timeout != 4*time.Hour || l.MaxLost != 10 || l.Process == "" ||
		l.SlotsOf("any") < 1 {
		t.Errorf("defaults %+v", l.Config)
	}
	for name, change := range map[string]func(*Config){
		"Log is":     func(c *Config) { c.Log = nil },
		"Scratch is": func(c *Config) { c.Scratch = "" },
		"unheard":    func(c *Config) { c.Slots = map[string]int{"unheard": 1} },
		"urgent":     func(c *Config) { c.Interactive = map[string]int{"unheard": 1} },
		"fewer":      func(c *Config) { c.KeepSources = -1 },
	} {
		c := full
		change(&c)
		if _, err := NewLoop(c); err == nil {
			t.Errorf("%s missing: no error", name)
		}
	}
}
