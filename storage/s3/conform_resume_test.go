package s3_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/reelmill/reelmill/storage/s3/s3test"
	"github.com/reelmill/reelmill/storage/storagetest"
)

func TestResumable(t *testing.T) {
	config := small(s3test.StartGateway(t))
	var places atomic.Int32
	storagetest.RunResumable(t, 5<<20, func(t *testing.T) func() storagetest.ResumableStore {
		config := config
		config.Prefix = fmt.Sprintf("test/%d", places.Add(1))
		return func() storagetest.ResumableStore { return open(t, config) }
	})
}
