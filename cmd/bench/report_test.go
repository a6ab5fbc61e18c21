package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	one, _ := newRow("ready 20s: ours/A", "", []float64{0.912, 0.95, 0.9}, atMost(1), "")
	two, _ := newRow("scaling", "s", []float64{120.4}, aim{}, "one slot")
	want := `measurement        median  min   max   unit  aim   verdict  
ready 20s: ours/A  0.91    0.90  0.95        <= 1  met      
scaling            120     120   120   s                    one slot
`
	if got := table([]row{one, two}); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for value, want := range map[float64]string{0: "0.00", 0.0123: "0.0123", 12.34: "12.3", 1234.5: "1234"} {
		if got := number(value); got != want {
			t.Errorf("%g is written %s", value, got)
		}
	}
}

// TestCostsFile checks that the simulation reads the file of a run, and takes missing costs from the built-in
// ones.
func TestCostsFile(t *testing.T) {
	b := newBench(options{json: filepath.Join(t.TempDir(), "sub", "bench.json"), scale: 0.5})
	b.costs = &costs{Machine: "m", Jobs: map[string]line{chunkKind: {1, 2}}, Next: 7}
	b.add("scaling 300s: one/two", "", []float64{1.93}, atLeast(1.9), "")
	if err := b.writeJSON(); err != nil {
		t.Fatal(err)
	}
	c, _, measured, err := readCosts(b.json)
	if err != nil || c.Jobs[chunkKind] != (line{1, 2}) || c.Next != 7 || measured != 1.93 ||
		c.Jobs["inspect"] != builtIn.Jobs["inspect"] || c.Broker != builtIn.Broker {
		t.Errorf("%+v, %g, %v", c, measured, err)
	}
	if _, _, _, err := readCosts(filepath.Join(t.TempDir(), "none.json")); err == nil {
		t.Error("a file that is not there is read")
	}
	t.Chdir(t.TempDir())
	if c, from, _, err := readCosts(""); err != nil || from != "built in" || c.Next != builtIn.Next {
		t.Errorf("%+v from %s, %v", c, from, err)
	}
	if err := os.MkdirAll("bin", 0o700); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(b.json)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(lastRun, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, from, _, err := readCosts(""); err != nil || from != "built in" {
		t.Errorf("a scaled run is believed: %s, %v", from, err)
	}
}

// TestSim runs the simulation as `make sim` does, with fewer videos.
func TestSim(t *testing.T) {
	t.Chdir(t.TempDir())
	var out strings.Builder
	err := runSim([]string{"-hours", "0.1", "-mixed", "3", "-slots", "1,4", "-json", "sim.json"}, &out)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"one video of 0.1 h, 720p", "3 videos of", "critical %", "costs built in"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if !exists("sim.json") {
		t.Error("no file")
	}
	for _, bad := range [][]string{
		{"-slots", "1,x"}, {"-slots", "0"}, {"-hours", "-1"}, {"-costs", "gone.json"},
	} {
		if err := runSim(bad, &out); err == nil {
			t.Errorf("%v is taken", bad)
		}
	}
}
