package ffmpeg

import "strings"

// Option is one ffmpeg option: "-Key Value" on a command line, "Key=Value" in a filter. An empty Value is a
// bare flag ("-copyts"). We write the keys, never users.
type Option struct{ Key, Value string }

// Escape escapes value as one filter option value in -filter_complex. ffmpeg unescapes twice: when it
// splits the graph into filters (special: \ ' [ ] , ; and white space at the ends), then when it splits a
// filter into options (special: \ ' :). So this escapes in the reverse order. Source: ffmpeg-filters(1),
// "Notes on filtergraph escaping", and av_get_token in libavutil/avstring.c.
//
// It does not escape what a filter itself interprets (drawtext's %{...}, expressions): use expansion=none
// and textfile= there. NUL has no escape; Command.Args refuses it.
func Escape(value string) string {
	return escapeAll(escapeAll(value, "\\':"), "\\'[],;")
}

// escapeAll puts a backslash before each special character and all white space. Only white space at the
// ends of a token is special; escaping all of it is equivalent and simpler.
func escapeAll(s, special string) string {
	var b strings.Builder
	b.Grow(len(s) + 8)
	for i := range len(s) {
		if strings.IndexByte(special, s[i]) >= 0 || strings.IndexByte(" \n\t\r", s[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// Node formats one filter, such as "scale=w=640:h=360", with escaped values and options in the given order.
// An option without a key is positional ("fps=25"). Without options Node returns the bare name.
func Node(name string, opts ...Option) string {
	if len(opts) == 0 {
		return name
	}
	parts := make([]string, len(opts))
	for i, o := range opts {
		parts[i] = Escape(o.Value)
		if o.Key != "" {
			parts[i] = o.Key + "=" + parts[i]
		}
	}
	return name + "=" + strings.Join(parts, ":")
}

// Chain joins nodes in sequence: "fps=25,scale=w=640". It skips empty nodes, so an optional step can be an
// empty string.
func Chain(nodes ...string) string { return joinNonEmpty(nodes, ",") }

// Link adds labels to a chain: Link([]string{"0:v:0"}, "null", []string{"v0"}) is "[0:v:0]null[v0]". Labels
// may have brackets or not.
func Link(in []string, chain string, out []string) string {
	return labels(in) + chain + labels(out)
}

// Graph joins links into the text of Command.Filter: "[0:v:0]split[a][b];[a]scale=...[v0]".
func Graph(links ...string) string { return joinNonEmpty(links, ";") }

func labels(names []string) string {
	var b strings.Builder
	for _, n := range names {
		b.WriteByte('[')
		b.WriteString(strings.TrimSuffix(strings.TrimPrefix(n, "["), "]"))
		b.WriteByte(']')
	}
	return b.String()
}

func joinNonEmpty(parts []string, sep string) string {
	kept := make([]string, 0, len(parts))
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, sep)
}
