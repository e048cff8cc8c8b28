package rtmp

import (
	"encoding/hex"
	"strings"
)

// audioConfig is the AudioSpecificConfig in the format parameters of an AAC
// track (RFC 3640, section 4.1), or nil.
func audioConfig(fmtp string) []byte {
	for p := range strings.SplitSeq(fmtp, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if !strings.EqualFold(name, "config") {
			continue
		}
		asc, err := hex.DecodeString(value)
		if err != nil || len(asc) < 2 {
			return nil
		}
		return asc
	}
	return nil
}
