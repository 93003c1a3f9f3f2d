// Command rtls-send is a sendmail that submits mail to a server over verified TLS,
// with REQUIRETLS (RFC 8689). See rtls-send.1.
package main

import (
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"rtls/internal/cli"
)

const name = "rtls-send"

func main() {
	// Nobody may be reading what we say, and that is no reason to die within a
	// transaction.
	signal.Ignore(syscall.SIGPIPE)
	// Most runs end before there is anything worth collecting: a run takes a tenth
	// less time so, and no more memory.
	debug.SetGCPercent(400)
	cli.Main(name, command(filepath.Base(os.Args[0])))
}
