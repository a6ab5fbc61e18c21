package webhook

// Slots implements workers.Slotter: a delivery waits for the network, and one receiver that hangs must not
// hold up the others.
func (w *Worker) Slots(int) int { return 16 }
