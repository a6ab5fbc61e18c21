package ffmpeg

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func ExampleGraph() {
	fmt.Println(Graph(
		Link([]string{"0:v:0"}, Chain(Node("fps", Option{"", "25"}), Node("split", Option{"", "2"})), []string{"a", "b"}),
		Link([]string{"a"}, Node("scale", Option{"w", "640"}, Option{"h", "360"}), []string{"v0"}),
		Link([]string{"[b]"}, Node("null"), []string{"[v1]"}),
	))
	fmt.Println(Node("drawtext", Option{"text", "it's 10:30, ok; [x]"}))
	// Output:
	// [0:v:0]fps=25,split=2[a][b];[a]scale=w=640:h=360[v0];[b]null[v1]
	// drawtext=text=it\\\'s\\\ 10\\:30\,\\\ ok\;\\\ \[x\]
}

// getToken is av_get_token of libavutil/avstring.c: it cuts one token off s and unescapes it once.
func getToken(s, terminators string) (token, rest string) {
	s = strings.TrimLeft(s, " \n\t\r")
	var out []byte
	end, i := 0, 0
	for i < len(s) && strings.IndexByte(terminators, s[i]) < 0 {
		c := s[i]
		i++
		switch {
		case c == '\\' && i < len(s):
			out = append(out, s[i])
			i++
			end = len(out)
		case c == '\'':
			for i < len(s) && s[i] != '\'' {
				out = append(out, s[i])
				i++
			}
			if i < len(s) {
				i++
				end = len(out)
			}
		default:
			out = append(out, c)
		}
	}
	for len(out) > end && strings.IndexByte(" \n\t\r", out[len(out)-1]) >= 0 {
		out = out[:len(out)-1]
	}
	return string(out), s[i:]
}

func FuzzEscape(f *testing.F) {
	for _, s := range []string{"", "a", `\`, `'`, ":,;[]=", " lead", "trail ", `x',movie=/etc/passwd[v];'`, "\n", "é%{pts}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		const after = ":h=1,null[v]"
		args, rest := getToken(Escape(value)+after, "[],;")
		if rest != ",null[v]" {
			t.Fatalf("broke out of its filter: %q leaves %q", value, rest)
		}
		got, rest := getToken(args, ":")
		if rest != ":h=1" {
			t.Fatalf("broke out of its option: %q leaves %q", value, rest)
		}
		if got != value {
			t.Fatalf("value %q became %q", value, got)
		}
	})
}

// TestEscapeInFFmpeg asks the real parser: it passes a value through a filter that stores it and one that
// prints it.
func TestEscapeInFFmpeg(t *testing.T) {
	in := video(t, "in.mp4", 1)
	for _, value := range []string{
		"plain", "a:b", `it's`, `back\slash\\`, "a,b;c", "[v0]", "x=y", "%{pts}", " both ends ", `'; movie=/etc/passwd`,
	} {
		file := filepath.Join(t.TempDir(), "it's, [a] print;out.txt")
		chain := Chain(
			Node("metadata", Option{"mode", "add"}, Option{"key", "k"}, Option{"value", value}),
			Node("metadata", Option{"mode", "print"}, Option{"file", file}))
		c := toNull(in)
		c.Inputs[0].Limit = 40e6
		c.Filter = Graph(Link([]string{"0:v:0"}, chain, []string{"v"}))
		c.Outputs[0].Maps = []string{"[v]"}
		if err := (Tools{}).Run(testContext(t), c, RunOptions{}); err != nil {
			var e *Error
			errors.As(err, &e)
			t.Errorf("%q: %v\n%s", value, err, e.Tail)
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if want := "\nk=" + value + "\n"; !strings.Contains(string(data), want) {
			t.Errorf("%q arrived as %q", value, data)
		}
	}
}
