package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// client is a program that submits one message.
type client struct {
	name    string
	command func(s *site, mode, port, message string) (argv, env []string, err error)
}

const (
	msmtp        = "msmtp"
	msmtpNoDelay = "msmtp, NODELAY"
)

// clients are ours, then its peers.
func (s *site) clients() []client {
	return []client{
		{"rtls-send", ours},
		{msmtp, msmtpCommand},
		{msmtpNoDelay, func(s *site, mode, port, message string) ([]string, []string, error) {
			argv, _, err := msmtpCommand(s, mode, port, message)
			return argv, []string{"LD_PRELOAD=" + s.nodelay}, err
		}},
		{"s-nail", sNail},
		{"curl", curl},
	}
}

// write puts a file into the site's directory and returns its path.
func (s *site) write(name, text string) (string, error) {
	path := filepath.Join(s.dir, name)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

func (s *site) ourConfig(mode, port, spool string) (string, error) {
	word := map[string]string{implicit: "implicit", starttls: "starttls"}[mode]
	queue := ""
	if spool != "" {
		queue = fmt.Sprintf("[send]\nspool = %q\n", spool)
	}
	return s.write("rtls.toml", fmt.Sprintf(`hostname = "client.example.org"
%s[send.account.bench]
from = "sender@example.org"
host = "localhost"
port = %s
tls = %q
ca_file = %q
user = "sender"
password_file = %q
`, queue, port, word, s.ca, filepath.Join(s.dir, "password")))
}

func ours(s *site, mode, port, _ string) (argv, env []string, err error) {
	config, err := s.ourConfig(mode, port, "")
	return []string{filepath.Join(s.dir, "rtls-send"), "-C", config, "-f", "sender@example.org", "b@example.net"}, nil, err
}

func msmtpCommand(s *site, mode, port, _ string) (argv, env []string, err error) {
	onOff := map[string]string{implicit: "off", starttls: "on"}[mode]
	config, err := s.write("msmtprc", fmt.Sprintf(`account default
host localhost
port %s
from sender@example.org
domain client.example.org
tls on
tls_starttls %s
tls_trust_file %s
auth plain
user sender
password secret
`, port, onOff, s.ca))
	return []string{".peers/msmtp/usr/bin/msmtp", "-C", config, "-f", "sender@example.org", "b@example.net"}, nil, err
}

func sNail(s *site, mode, port, _ string) (argv, env []string, err error) {
	scheme := map[string]string{implicit: "smtps", starttls: "smtp"}[mode]
	argv = []string{"s-nail", "-:/", "-S", "v15-compat", "-S", "mta=" + scheme + "://sender:secret@localhost:" + port,
		"-S", "smtp-auth=plain", "-S", "tls-ca-file=" + s.ca, "-S", "tls-ca-no-defaults", "-S", "tls-verify=strict",
		"-S", "hostname=client.example.org", "-S", "smtp-hostname=client.example.org", "-S", "sendwait"}
	if mode == starttls {
		argv = append(argv, "-S", "smtp-use-starttls")
	}
	return append(argv, "-r", "sender@example.org", "-s", "report", "b@example.net"), nil, nil
}

func curl(s *site, mode, port, message string) (argv, env []string, err error) {
	scheme := map[string]string{implicit: "smtps", starttls: "smtp"}[mode]
	argv = []string{"curl", "-sS", "--url", scheme + "://localhost:" + port + "/client.example.org", "--cacert", s.ca, "--ssl-reqd",
		"--user", "sender:secret", "--mail-from", "sender@example.org", "--mail-rcpt", "b@example.net", "--crlf", "--upload-file", message}
	return argv, nil, nil
}
