package embedded

import (
	"fmt"
	"log/slog"
)

// logger writes the server's warnings and errors to slog. It keeps the first fatal message, for Start to
// return: an embedded server does not end the process.
type logger struct {
	log   *slog.Logger
	fatal chan string
}

// Noticef drops a message: the server tells its whole start and end.
func (*logger) Noticef(string, ...any) {}

// Debugf drops a message.
func (*logger) Debugf(string, ...any) {}

// Tracef drops a message.
func (*logger) Tracef(string, ...any) {}

// Warnf logs a warning.
func (l *logger) Warnf(format string, v ...any) {
	l.log.Warn(fmt.Sprintf(format, v...), "from", "nats-server")
}

// Errorf logs an error.
func (l *logger) Errorf(format string, v ...any) {
	l.log.Error(fmt.Sprintf(format, v...), "from", "nats-server")
}

// Fatalf logs an error, and keeps it for Start if it is the first one.
func (l *logger) Fatalf(format string, v ...any) {
	why := fmt.Sprintf(format, v...)
	l.log.Error(why, "from", "nats-server")
	select {
	case l.fatal <- why:
	default:
	}
}
