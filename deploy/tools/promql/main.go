// Command promql parses and evaluates alert rules as Prometheus does, for tests. It reads one JSON document from
// standard input and writes one to standard output:
//
//	promql          a list of expressions; for each, {"metrics": {name: labels in its matchers},
//	                "labels": labels that group or match results}
//	promql alerts   rules, and scenarios of series; for each scenario, the alerts that fire at its end
//	                (alerts.go)
//
// It fails at the first expression that does not parse. It is a module of its own, since parser and engine need
// most of Prometheus.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/prometheus/prometheus/promql/parser"
)

type use struct {
	Metrics map[string][]string `json:"metrics"`
	Labels  []string            `json:"labels"`
}

func main() {
	do := uses
	if len(os.Args) > 1 && os.Args[1] == "alerts" {
		do = alerts
	}
	if err := do(json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)); err != nil {
		fmt.Fprintln(os.Stderr, "promql:", err)
		os.Exit(1)
	}
}

func uses(in *json.Decoder, out *json.Encoder) error {
	var exprs []string
	if err := in.Decode(&exprs); err != nil {
		return err
	}
	p := parser.NewParser(parser.Options{})
	uses := make([]use, len(exprs))
	for i, text := range exprs {
		expr, err := p.ParseExpr(text)
		if err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
		uses[i] = useOf(expr)
	}
	return out.Encode(uses)
}

// useOf collects the names in an expression.
func useOf(expr parser.Expr) use {
	u := use{Metrics: map[string][]string{}}
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		switch n := n.(type) {
		case *parser.VectorSelector:
			labels := u.Metrics[n.Name]
			for _, m := range n.LabelMatchers {
				if m.Name != "__name__" {
					labels = append(labels, m.Name)
				}
			}
			u.Metrics[n.Name] = append([]string{}, labels...)
		case *parser.AggregateExpr:
			u.Labels = append(u.Labels, n.Grouping...)
		case *parser.BinaryExpr:
			if n.VectorMatching != nil {
				u.Labels = append(u.Labels, n.VectorMatching.MatchingLabels...)
			}
		}
		return nil
	})
	return u
}
