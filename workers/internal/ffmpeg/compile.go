package ffmpeg

import (
	"fmt"
	"strings"

	ffgo "github.com/u2takey/ffmpeg-go"
)

// mark opens and closes the tag that compile puts before option keys and file names. check refuses NUL,
// which argv cannot hold, so no caller's text can look like a tag.
const mark = "\x00"

// compile builds argv with ffmpeg-go. The library keeps options in a map, merges nodes whose hashes collide
// (two inputs with swapped options become one) and drops inputs that only the graph text names. So:
//
//  1. Every option key has a tag with its node and position. The library's sort by key restores our order,
//     duplicates survive, and no two nodes are equal.
//  2. All inputs and outputs hang below one MergeOutputs node, in order, so each is visited once.
//  3. The graph is one raw filter_complex option of the first output.
//  4. compile strips the tags from the result and fails unless each is there exactly once.
//
// It calls GetArgs only: Compile logs every command and ignores its options, and Run hides failures.
func (c Command) compile() (args []string, err error) {
	defer func() { // the library panics on misuse
		if r := recover(); r != nil {
			args, err = nil, fmt.Errorf("compile: %v", r)
		}
	}()
	var t tagger
	inputs := make([]*ffgo.Stream, len(c.Inputs))
	all := make([]*ffgo.Stream, 0, len(c.Inputs)+len(c.Outputs))
	for i, in := range c.Inputs {
		kw := t.kwargs(c.inputOptions(in))
		inputs[i] = ffgo.Input(t.tag(in.source()), kw)
		asOutput := *inputs[i]
		asOutput.Type = "OutputStream" // MergeOutputs accepts only this; the node stays an input
		all = append(all, &asOutput)
	}
	for i, out := range c.Outputs {
		opts := c.outputOptions(out)
		if i == 0 && c.Filter != "" {
			opts = append([]Option{{"filter_complex", c.Filter}}, opts...)
		}
		kw := t.kwargs(opts)
		// An edge to the whole first input keeps the library from writing a -map of its own.
		all = append(all, ffgo.Output(inputs[:1], t.tag(out.target()), kw))
	}
	return t.strip(ffgo.MergeOutputs(all...).GetArgs())
}

// tagger numbers everything that the library must return.
type tagger struct{ next int }

func (t *tagger) tag(s string) string {
	s = fmt.Sprintf("%s%08d%s%s", mark, t.next, mark, s)
	t.next++
	return s
}

func (t *tagger) kwargs(opts []Option) ffgo.KwArgs {
	kw := make(ffgo.KwArgs, len(opts))
	for _, o := range opts {
		kw[t.tag(o.Key)] = o.Value
	}
	return kw
}

// strip removes the tags and checks that each came back once.
func (t *tagger) strip(args []string) ([]string, error) {
	seen := make(map[string]bool, t.next)
	out := make([]string, 0, len(args))
	for _, a := range args {
		before, rest, tagged := strings.Cut(a, mark)
		if !tagged {
			out = append(out, a)
			continue
		}
		id, text, ok := strings.Cut(rest, mark)
		if !ok || seen[id] {
			return nil, fmt.Errorf("compile: ffmpeg-go repeated or broke %q", text)
		}
		seen[id] = true
		out = append(out, before+text)
	}
	if len(seen) != t.next {
		return nil, fmt.Errorf("compile: ffmpeg-go lost %d of %d arguments", t.next-len(seen), t.next)
	}
	return out, nil
}
