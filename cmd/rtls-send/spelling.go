package main

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// argument says whether an option letter of sendmail takes a value.
type argument uint8

const (
	none     argument = iota
	required          // the rest of the word, or the next word
	optional          // the rest of the word, if there is any
)

// letter is an option of sendmail and the long flag that it stands for. One
// without a flag is accepted, because programs pass it, and does nothing.
type letter struct {
	arg  argument
	flag string
}

// letters is every option letter that is accepted; the man page lists the same.
var letters = map[byte]letter{
	't': {none, "read-recipients"},
	'a': {required, "account"}, // as in msmtp
	'f': {required, "from"},
	'r': {required, "from"},
	'F': {required, "full-name"},
	'N': {required, "dsn-notify"},
	'R': {required, "dsn-return"},
	'V': {required, "dsn-envid"},
	'O': {required, "option"},
	'C': {required, "config"},
	'b': {required, "mode"},
	'q': {optional, "queue"},
	'I': {none, "newaliases"},
	'v': {none, "verbose"},

	'B': {required, "body"},
	'e': {required, "error-mode"},
	'n': {none, "no-aliases"},
	'U': {none, "smtputf8"},
	'X': {required, "transcript"},
	'd': {optional, "debug-level"},
	'o': {required, "set"}, // -oi, -oem, -odb and so on

	'h': {required, "hop-count"},
	'L': {required, "log-tag"},

	// What these ask for is so anyway, or is nothing to a caller.
	'i': {none, ""},     // dots are text always
	'm': {none, ""},     // an alias that leads to the sender is sent to as well
	'G': {none, ""},     // a gateway's message, whose header is not to be completed
	'E': {none, ""},     // Exim's mark of its own reports
	's': {none, ""},     // keep a "From " line
	'c': {none, ""},     // do not contact expensive mailers now
	'x': {none, ""},     // no TLS certificate of ours is asked for
	'A': {required, ""}, // which of two configurations
	'p': {required, ""}, // protocol and host that a message came by, for Received

	// These would change what becomes of a message, and do not.
	'M': {required, "macro"},
	'T': {required, "queue-lifetime"},
}

// respell rewrites arguments in sendmail's spelling, in which -oem is one option,
// -ti are two and -q takes a value only without a blank, into long flags. It stops
// at "--".
func respell(args []string, fs *pflag.FlagSet) ([]string, error) {
	var out []string
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			return append(append(out, arg), args...), nil
		case strings.HasPrefix(arg, "--"):
			out = append(out, arg)
			if f := fs.Lookup(arg[2:]); f != nil && f.NoOptDefVal == "" && len(args) > 0 {
				out = append(out, args[0]) // its value, whatever it looks like
				args = args[1:]
			}
		case len(arg) > 1 && arg[0] == '-':
			flags, used, err := respellCluster(arg[1:], args)
			if err != nil {
				return nil, err
			}
			out = append(out, flags...)
			args = args[used:]
		default:
			out = append(out, arg)
		}
	}
	return out, nil
}

// respellCluster rewrites one word of letters. It says how many of the following
// words it used up.
func respellCluster(word string, next []string) (flags []string, used int, err error) {
	for i := range len(word) {
		l, ok := letters[word[i]]
		if !ok {
			return nil, 0, fmt.Errorf("unknown option -%c", word[i])
		}
		if l.arg == none {
			flags = appendFlag(flags, l.flag, "")
			continue
		}
		value := word[i+1:]
		if value == "" && l.arg == required {
			if len(next) == 0 {
				return nil, 0, fmt.Errorf("option -%c needs a value", word[i])
			}
			value, used = next[0], 1
		}
		return appendFlag(flags, l.flag, "="+value), used, nil
	}
	return flags, 0, nil
}

func appendFlag(flags []string, flag, value string) []string {
	if flag == "" {
		return flags
	}
	return append(flags, "--"+flag+value)
}
