package pipeline

import "testing"

func TestUnknownNamesTheValidOnesWithAGuess(t *testing.T) {
	known := []string{"text", "scale", "opacity"}
	for name, want := range map[string]string{
		"scal":  `unknown parameter "scal" (did you mean "scale"?); the known ones are opacity, scale, text`,
		"Txet":  `unknown parameter "Txet"; the known ones are opacity, scale, text`,
		"TEXT":  `unknown parameter "TEXT" (did you mean "text"?); the known ones are opacity, scale, text`,
		"color": `unknown parameter "color"; the known ones are opacity, scale, text`,
		"":      `unknown parameter ""; the known ones are opacity, scale, text`,
	} {
		if got := Unknown("parameter", name, known); got != want {
			t.Errorf("%q: %s\nwant %s", name, got, want)
		}
	}
	if got := Unknown("parameter", "x", nil); got != `unknown parameter "x"; there are none` {
		t.Errorf("none known: %s", got)
	}
}
