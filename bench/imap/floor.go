package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// floor is the least time in which one thread can read all files of a mailbox and
// encrypt them in records of TLS, at so many octets a second.
func floor(maildir string, perSecond float64) (time.Duration, error) {
	cur := filepath.Join(maildir, "cur")
	names, err := os.ReadDir(cur)
	if err != nil {
		return 0, err
	}
	buf := make([]byte, 1<<20) // larger than a message
	octets := 0
	start := time.Now()
	for _, d := range names {
		f, err := os.Open(filepath.Join(cur, d.Name()))
		if err != nil {
			return 0, err
		}
		n, err := f.Read(buf)
		octets += n
		if err := errors.Join(err, f.Close()); err != nil {
			return 0, err
		}
	}
	return time.Since(start) + time.Duration(float64(octets)/perSecond*float64(time.Second)), nil
}

// opensslSpeed is how many octets a second OpenSSL encrypts with AES-128-GCM.
func opensslSpeed(ctx context.Context) (float64, error) {
	out, err := exec.CommandContext(ctx, "openssl", "speed", "-mr", "-seconds", "2", "-bytes", "16384", "-evp", "aes-128-gcm").CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("openssl speed: %w\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "+F:"); ok {
			fields := strings.Split(rest, ":")
			return strconv.ParseFloat(fields[len(fields)-1], 64)
		}
	}
	return 0, fmt.Errorf("openssl speed says nothing of use:\n%s", out)
}
