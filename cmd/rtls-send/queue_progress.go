package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"rtls/internal/cli"
)

const (
	progressFrom  = 1 << 20 // octets; smaller ones are gone before anybody looks
	progressEvery = 200 * time.Millisecond
)

// withProgress shows how much of a large text has left, on a terminal.
func withProgress(env cli.Env, o *options, text io.WriterTo, size int64) io.WriterTo {
	f, ok := env.Stderr.(*os.File)
	if !ok || size < progressFrom || o.verbose {
		return text
	}
	if !isTerminal(f) {
		return text
	}
	return &progress{text: text, size: size, out: f}
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

type progress struct {
	text io.WriterTo
	size int64
	out  io.Writer
}

func (p *progress) WriteTo(w io.Writer) (int64, error) {
	n, err := p.text.WriteTo(&progressWriter{w: w, p: p})
	fmt.Fprint(p.out, "\r\x1b[K")
	return n, err
}

type progressWriter struct {
	w     io.Writer
	p     *progress
	n     int64
	shown time.Time
}

func (c *progressWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	if now := time.Now(); now.Sub(c.shown) >= progressEvery {
		c.shown = now
		fmt.Fprintf(c.p.out, "\r%s: %.1f of %.1f MB (%d%%)", name, float64(c.n)/1e6, float64(c.p.size)/1e6, c.n*100/c.p.size)
	}
	return n, err
}
