package inspect

// Slots implements workers.Slotter: somebody waits for the verdict, so one large file must not hold up the
// next.
func (w *Worker) Slots(cores int) int { return max(2, cores/2) }
