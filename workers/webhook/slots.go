package webhook

// Slots implements workers.Slotter. There are many: a delivery mostly waits for the network, and a receiver
// that hangs must not delay the others.
func (w *Worker) Slots(int) int { return 16 }
