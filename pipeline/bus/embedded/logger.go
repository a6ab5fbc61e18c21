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

func (*logger) Noticef(string, ...any) {}
func (*logger) Debugf(string, ...any)  {}
func (*logger) Tracef(string, ...any)  {}

func (l *logger) Warnf(format string, v ...any) {
	l.log.Warn(fmt.Sprintf(format, v...), "from", "nats-server")
}
func (l *logger) Errorf(format string, v ...any) {
	l.log.Error(fmt.Sprintf(format, v...), "from", "nats-server")
}

func (l *logger) Fatalf(format string, v ...any) {
	why := fmt.Sprintf(format, v...)
	l.log.Error(why, "from", "nats-server")
	select {
	case l.fatal <- why:
	default:
	}
}
