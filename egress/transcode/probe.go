package transcode

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// probeTimeout is how long ffmpeg may take to tell what it can do.
const probeTimeout = 10 * time.Second

// probe finds ffmpeg and checks that it has the encoders that are needed. It
// returns the path, and the name of the option that keeps the time of pictures
// as it is: ffmpeg before 5.1 knows only the old one, and complains of it since.
func probe(name string) (path, fpsMode string, err error) {
	path, err = exec.LookPath(name)
	if err != nil {
		return "", "", fmt.Errorf("%w: looking up %s: %w", ErrUnavailable, name, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	encoders, err := exec.CommandContext(ctx, path, "-hide_banner", "-encoders").Output()
	if err != nil {
		return "", "", fmt.Errorf("%w: asking %s for its encoders: %w", ErrUnavailable, path, err)
	}
	for _, e := range []string{" libx264 ", " aac "} {
		if !strings.Contains(string(encoders), e) {
			return "", "", fmt.Errorf("%w: %s has no %s", ErrUnavailable, path, strings.TrimSpace(e))
		}
	}
	fpsMode = "-fps_mode"
	help, err := exec.CommandContext(ctx, path, "-hide_banner", "-h", "long").Output()
	if err != nil {
		return "", "", fmt.Errorf("%w: asking %s for its options: %w", ErrUnavailable, path, err)
	}
	if !strings.Contains(string(help), fpsMode) {
		fpsMode = "-vsync"
	}
	return path, fpsMode, nil
}
