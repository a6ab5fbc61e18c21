package watermark

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/reelmill/reelmill/workers/internal/sandbox"
	"github.com/reelmill/reelmill/workers/internal/userimage"
)

func TestMain(m *testing.M) {
	sandbox.Main(userimage.Task())
	goleak.VerifyTestMain(m)
}
