package rtc

import (
	"fmt"
	"log/slog"

	"github.com/pion/logging"
)

// logFactory gives the libraries below us a logger that passes on errors alone,
// and these as Debug: what matters of them comes back as an error, and the rest
// is chatter that any stranger on the network can cause.
type logFactory struct{ log *slog.Logger }

// NewLogger implements logging.LoggerFactory.
func (f logFactory) NewLogger(scope string) logging.LeveledLogger {
	return quietLogger{f.log, scope}
}

type quietLogger struct {
	log   *slog.Logger
	scope string
}

func (quietLogger) Trace(string)          {}
func (quietLogger) Tracef(string, ...any) {}
func (quietLogger) Debug(string)          {}
func (quietLogger) Debugf(string, ...any) {}
func (quietLogger) Info(string)           {}
func (quietLogger) Infof(string, ...any)  {}
func (quietLogger) Warn(string)           {}
func (quietLogger) Warnf(string, ...any)  {}

func (l quietLogger) Error(msg string) {
	l.log.Debug("webrtc library error", "scope", l.scope, "err", msg)
}

func (l quietLogger) Errorf(format string, args ...any) {
	l.log.Debug("webrtc library error", "scope", l.scope, "err", fmt.Sprintf(format, args...))
}
