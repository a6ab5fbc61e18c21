package all

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	Tasks()
	goleak.VerifyTestMain(m)
}
