// Command rtls-send is a sendmail that submits mail to a server over verified TLS,
// with REQUIRETLS (RFC 8689). See rtls-send.1.
package main

import (
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"rtls/internal/cli"
)

const name = "rtls-send"

func main() {
	// Nobody may be reading what we say, and that is no reason to die within a
	// transaction.
	signal.Ignore(syscall.SIGPIPE)
	cli.Main(name, command(filepath.Base(os.Args[0])))
}
