package pipelinetest

import "runtime/metrics"

// Allocated returns how many bytes of memory do asks for, freed or not. Other goroutines count, too, so it is
// an upper bound; and small allocations are counted late, so only large ones are told exactly.
func Allocated(do func()) uint64 {
	before := heapBytes()
	do()
	return heapBytes() - before
}

func heapBytes() uint64 {
	all := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(all)
	return all[0].Value.Uint64()
}
